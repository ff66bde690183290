// A ticket: one request to open it, one for whatever is done to it, and what others do comes by the stream.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { api, etagOf, Failure, failureOf, gently, good } from "./api";
import type { Change, Comment, Event, Me, Status, Ticket, TicketPatch, TicketWithParts, Timeline } from "./api";
import { Attached, FilesOf } from "./files";
import { begun, onChange } from "./live";
import { At, Due, said, span, STATUS, Text, Trouble } from "./words";
import { fileIds, Writer, type Draft } from "./writer";

type Item = { id: string; at: string; comment?: Comment; event?: Event };
/** `from`: what was before that is not all there. */
type Screen = { ticket: TicketWithParts; etag: string; items: Map<string, Item>; from: string };

const ofComment = (comment: Comment): Item => ({ id: comment.id, at: comment.created_at, comment });
const ofEvent = (event: Event): Item => ({ id: event.id, at: event.at, event });
const added = (items: Map<string, Item>, more: Item[]) => new Map([...items, ...more.map((item) => [item.id, item] as const)]);
/** These are shown as the comment that they are about. */
const IN_COMMENTS = ["comment.added", "file.attached"];

/** Of a change, what follows from the rest of it. */
const FOLLOWS = /_at$|^reopen_count$/;

/** The newest comments and events, put beside what is known of older ones. */
function newest({ comments, events }: TicketWithParts, known: Screen | undefined): Pick<Screen, "items" | "from"> {
  const pages = [
    { items: (comments?.items ?? []).map(ofComment), next: comments?.next_cursor },
    { items: (events?.items ?? []).map(ofEvent), next: events?.next_cursor },
  ];
  const from = pages.map(({ items, next }) => (next && items.at(-1)?.at) || "").sort()[1] ?? "";
  const fresh = pages.flatMap(({ items }) => items);
  // Where nothing of the newest is known, something may be missing in between.
  const joins = known && fresh.some(({ id }) => known.items.has(id));
  return joins ? { items: added(known.items, fresh), from: known.from } : { items: added(new Map(), fresh), from };
}

export function TicketScreen({ id, me }: { id: string; me: Me }) {
  const [, redraw] = useState<Screen>();
  const [failure, setFailure] = useState<Failure>();
  const now = useRef<{ screen?: Screen; writing?: Promise<unknown> }>({}).current;
  const path = { id };

  const show = (screen: Screen) => redraw((now.screen = screen));
  const attempt = (work: Promise<void>) =>
    work.then(() => setFailure(undefined)).catch((error: unknown) => setFailure(failureOf(error)));

  async function read(): Promise<void> {
    const answer = await api.GET("/v1/tickets/{id}", {
      // What its reader may not see is left out, so customers ask for the same.
      params: { path, query: { include: ["requester", "comments", "events", "time_entries", "cost", "sla"] } },
    });
    const ticket = good(answer) as TicketWithParts;
    // It was on its way while something was written.
    if (now.screen && ticket.version < now.screen.ticket.version) return readAgain();
    show({ ticket, etag: etagOf(answer.response), ...newest(ticket, now.screen) });
  }
  const readAgain = useMemo(() => gently(() => attempt(read())), []);

  /** Whether the screen shows already what a change is about. */
  function knows({ type, comment_id, ticket }: Change, screen: Screen): boolean {
    const hasComment = comment_id === null || screen.items.has(comment_id);
    const isNewer = (ticket?.version ?? 0) > screen.ticket.version;
    return ["ticket.updated", ...IN_COMMENTS].includes(type) && hasComment && !isNewer;
  }

  useEffect(() => {
    void begun.then(readAgain);
    return onChange(async (change) => {
      // What is heard while one writes may be one's own: it is looked at when that is answered.
      await now.writing;
      const { screen } = now;
      // It may be older now than what is shown.
      if (!change) delete now.screen;
      if (!change || !screen) return readAgain();
      if (change.ticket?.id !== screen.ticket.id) return;
      if (knows(change, screen)) show({ ...screen, items: added(screen.items, [ofEvent(change)]) });
      else readAgain();
    });
  }, []);

  /** A write, after which the screen shows what is there: also where it was refused, since it was not as shown. */
  async function write(work: (etag: string) => Promise<{ ticket: Ticket; etag: string; comment?: Comment }>) {
    const writing = work(now.screen?.etag ?? "");
    now.writing = writing.catch(() => undefined);
    try {
      const { ticket, etag, comment } = await writing;
      const { screen } = now;
      // The kept answer to a first try may be older than what is shown.
      if (!screen || ticket.version < screen.ticket.version) return readAgain();
      const { requester } = screen.ticket;
      const items = added(screen.items, comment ? [ofComment(comment)] : []);
      show({ ...screen, ticket: { ...screen.ticket, ...ticket, requester }, etag, items });
    } catch (error) {
      if ([409, 412].includes(failureOf(error).problem?.status ?? 0)) await read();
      throw error;
    }
  }

  const change = (body: TicketPatch) =>
    write(async (etag) => {
      const answer = await api.PATCH("/v1/tickets/{id}", { params: { path, header: { "If-Match": etag } }, body });
      return { ticket: good(answer), etag: etagOf(answer.response) };
    });

  const reply = (status?: Status) => (draft: Draft) =>
    write(async (etag) => {
      const answer = await api.POST("/v1/tickets/{id}/comments", {
        // A note among colleagues holds whatever was written meanwhile.
        params: { path, header: { "Idempotency-Key": draft.key, ...(!draft.internal && { "If-Match": etag }) } },
        body: {
          body: draft.text,
          visibility: draft.internal ? "internal" : "public",
          file_ids: fileIds(draft),
          // Also where nothing is to be changed: so the answer has the ticket as it is after the reply, with its ETag.
          ticket: status ? { status } : {},
        },
      });
      const both = good(answer);
      if (!("ticket" in both)) throw new Failure("no_answer");
      return { ...both, etag: etagOf(answer.response) };
    });

  async function readAll() {
    for (let cursor: string | null = "", items: Item[] = []; cursor !== null; ) {
      const query = { limit: 200, ...(cursor && { cursor }) };
      const page: Timeline = good(await api.GET("/v1/tickets/{id}/timeline", { params: { path, query } }));
      items = [...items, ...page.items.flatMap(({ comment, event }) => (comment ? ofComment(comment) : event ? ofEvent(event) : []))];
      cursor = page.next_cursor;
      if (cursor === null && now.screen) show({ ...now.screen, items: added(now.screen.items, items), from: "" });
    }
  }

  const { screen } = now;
  if (!screen) return <Trouble failure={failure} />;
  const { ticket, from } = screen;
  const isStaff = me.role !== "requester";
  const known = [me, ticket.assignee, ticket.team, ticket.requester];
  const sentence = ({ field, before, after }: Change["changes"][number]) =>
    `${field.replace("_id", "")} from ${said(before, known)} to ${said(after, known)}`;
  // Whether it has files of its own, its trail tells alone.
  const mayHaveFiles = from || [...screen.items.values()].some(({ event }) => event?.type === "file.attached" && !event.comment_id);
  const items = [...screen.items.values()].filter(({ at, event }) => at >= from && !IN_COMMENTS.includes(event?.type ?? ""));
  return (
    <article>
      <h1>{ticket.subject} <small>#{ticket.number}</small></h1>
      <p class="facts">
        <b data-status={ticket.status}>{STATUS[ticket.status]}</b>
        <Due next={ticket.next_due} />
        {isStaff && <span>{ticket.priority}</span>}
        {isStaff && <span title={ticket.requester?.email ?? ""}>from {ticket.requester?.name ?? "nobody"}</span>}
        <span>{ticket.assignee ? `with ${ticket.assignee.name}` : "with nobody yet"}</span>
        {ticket.cost && ticket.cost.work_s > 0 && <span>{span(ticket.cost.work_s)} of work</span>}
        {ticket.closes_at && <span>closes <At at={ticket.closes_at} /></span>}
      </p>
      {isStaff && ticket.assignee?.id !== me.id && ticket.status !== "closed" && (
        <button onClick={() => void attempt(change({ assignee_id: "me" }))}>Assign to me</button>
      )}
      {ticket.allowed_statuses.map((status) => (
        <button key={status} onClick={() => void attempt(change({ status }))}>{STATUS[status]}</button>
      ))}
      <Trouble failure={failure} />
      <section class="timeline" aria-live="polite">
        <Text of={ticket.description} />
        {mayHaveFiles && <FilesOf id={id} />}
        {from && <button onClick={() => void attempt(readAll())}>All that came before</button>}
        {items
          .sort((one, other) => (one.at + one.id < other.at + other.id ? -1 : 1))
          .map(({ id, at, comment, event }) =>
            comment ? (
              <div key={id} class={`comment ${comment.visibility} ${comment.author.kind}`}>
                <b>{comment.author.name}</b> {comment.visibility === "internal" && "internal"} <At at={at} />
                {comment.redacted_at ? <i>removed</i> : <Text of={comment.body} />}
                {comment.files.map((file) => <Attached key={file.id} file={file} />)}
              </div>
            ) : (
              <div key={id} class="event">
                {event?.actor?.name ?? "The desk"}, <At at={at} />: {event?.type.replace(/[._]/g, " ")}{" "}
                {event?.type === "ticket.updated" && event.changes.filter(({ field }) => !FOLLOWS.test(field)).map(sentence).join("; ")}
              </div>
            ),
          )}
      </section>
      {ticket.status !== "closed" && (
        <Writer name={`${me.id}-${ticket.id}`} hasInternal={isStaff} actions={[
          { label: "Reply", send: reply() },
          ...(isStaff && ticket.allowed_statuses.includes("resolved") ? [{ label: "Reply and resolve", send: reply("resolved") }] : []),
        ]} />
      )}
    </article>
  );
}
