// A ticket: one request to open it, one for whatever is done to it, and what others do comes by the stream.
import { useEffect, useRef, useState } from "preact/hooks";

import { api, failureOf, good } from "./api";
import type { Answer, Change, Comment, Event, Me, Schemas, Status, Ticket, TicketWithParts } from "./api";
import { Attached, FilesOf } from "./files";
import { begun, onChange } from "./live";
import { At, Facts, said, span, STATUS, Text, Trouble, useTrouble } from "./words";
import { fileIds, Writer, type Draft } from "./writer";

type Part = "requester" | "comments" | "events" | "time_entries" | "cost" | "sla";
type Item = { id: string; at: string; comment?: Comment; event?: Event };
/** `from`: of what was before that something is missing. */
type Screen = { ticket: TicketWithParts; etag: string; items: Map<string, Item>; from: string | null };

const ofComment = (comment: Comment): Item => ({ id: comment.id, at: comment.created_at, comment });
const ofEvent = (event: Event): Item => ({ id: event.id, at: event.at, event });
const etagOf = ({ response }: { response: Response }) => response.headers.get("ETag") ?? "";
const added = (items: Map<string, Item>, more: Item[]) => new Map([...items, ...more.map((item) => [item.id, item] as const)]);
/** These are shown as the comment that they are about. */
const IN_COMMENTS = ["comment.added", "file.attached"];
/** Of these there is nothing to be read beyond the ticket and the comment. */
const TOLD_WHOLE = ["ticket.updated", ...IN_COMMENTS];
/** Of a change, what follows from the rest of it. */
const FOLLOWS = /_at$|^reopen_count$/;

/** The newest comments and events, put beside what is known of older ones. */
function newest({ comments, events }: TicketWithParts, known: Screen | undefined): Pick<Screen, "items" | "from"> {
  const pages = [(comments?.items ?? []).map(ofComment), (events?.items ?? []).map(ofEvent)];
  const hasOlder = [comments?.next_cursor, events?.next_cursor];
  const from = pages.map((page, nth) => (hasOlder[nth] && page.at(-1)?.at) || "").sort()[1] ?? "";
  const fresh = pages.flat();
  // Where nothing of the newest is known, something may be missing in between.
  const joins = known && fresh.some(({ id }) => known.items.has(id));
  return joins ? { items: added(known.items, fresh), from: known.from } : { items: added(new Map(), fresh), from };
}

export function TicketScreen({ id, me }: { id: string; me: Me }) {
  const [, redraw] = useState<Screen>();
  const [unread, tryToRead] = useTrouble();
  const [undone, attempt] = useTrouble();
  const now = useRef<{ screen?: Screen; writing?: Promise<unknown>; reads: number }>({ reads: 0 }).current;
  const path = { id };
  const show = (screen: Screen) => redraw((now.screen = screen));

  async function read(): Promise<void> {
    now.reads += 1;
    // What its reader may not see is left out, so customers ask for the same.
    const include: Part[] = ["requester", "comments", "events", "time_entries", "cost", "sla"];
    const answer = await api.GET("/v1/tickets/{id}", { params: { path, query: { include } } });
    const ticket = good(answer) as TicketWithParts;
    // It was on its way while something was written.
    if (now.screen && ticket.version < now.screen.ticket.version) return read();
    show({ ticket, etag: etagOf(answer), ...newest(ticket, now.screen) });
  }

  /** What is heard is shown at once if all else of it is there, as of what one has done oneself; or it is read. */
  async function hear(change: Change | null, reads: number) {
    await now.writing;
    // After changes were missed, what there is may even be older than what is shown.
    if (!change) delete now.screen;
    const { screen } = now;
    if (!change || !screen) return read();
    const { type, ticket, comment_id } = change;
    if (ticket?.id !== screen.ticket.id) return;
    const hasComment = comment_id === null || screen.items.has(comment_id);
    const isWhole = TOLD_WHOLE.includes(type) && hasComment && ticket.version <= screen.ticket.version;
    if (isWhole || screen.items.has(change.id)) show({ ...screen, items: added(screen.items, [ofEvent(change)]) });
    else if (now.reads === reads) {
      // It was not read since. And what was edited or removed may be further back than what is read.
      if (!TOLD_WHOLE.includes(type)) now.screen = { ...screen, items: new Map() };
      await read();
    }
  }

  useEffect(() => {
    let queue = begun.then(read);
    tryToRead(queue);
    return onChange((change) => {
      const { reads } = now;
      // After a failure all is read again, whatever has happened.
      queue = queue.then(() => hear(change, reads), read);
      tryToRead(queue);
    });
  }, []);

  /** A write, after which the screen shows what is there: also where it was refused, since it was not as shown. */
  async function write(work: (etag: string) => Promise<Answer<Ticket | Schemas["AddedComment"]>>) {
    const writing = work(now.screen?.etag ?? "");
    now.writing = writing.catch(() => undefined);
    try {
      const answer = await writing;
      const body = good(answer);
      const { screen } = now;
      const ticket = "number" in body ? body : "ticket" in body ? body.ticket : undefined;
      // The kept answer to a first try may be older than what is shown.
      if (!screen || !ticket || ticket.version < screen.ticket.version) return await read();
      const items = added(screen.items, "comment" in body ? [ofComment(body.comment)] : []);
      show({ ...screen, ticket: { ...screen.ticket, ...ticket, requester: screen.ticket.requester }, etag: etagOf(answer), items });
    } catch (error) {
      if ([409, 412].includes(failureOf(error).problem?.status ?? 0)) await read();
      throw error;
    }
  }

  const change = (body: Schemas["TicketPatch"]) =>
    write((etag) => api.PATCH("/v1/tickets/{id}", { params: { path, header: { "If-Match": etag } }, body }));

  const reply = (status?: { status: Status }) => (draft: Draft) =>
    write((etag) => {
      const visibility = draft.internal ? "internal" : "public";
      // A note among colleagues holds whatever was written meanwhile.
      const header = { "Idempotency-Key": draft.key, ...(!draft.internal && { "If-Match": etag }) };
      // With `ticket`, also where nothing of it is to be changed: so the answer has it as it is then, with its ETag.
      const body = { body: draft.text, visibility, file_ids: fileIds(draft), ticket: { ...status } } as const;
      return api.POST("/v1/tickets/{id}/comments", { params: { path, header }, body });
    });

  async function readAll(cursor?: string): Promise<void> {
    const query = { limit: 200, ...(cursor && { cursor }) };
    const { items, next_cursor } = good(await api.GET("/v1/tickets/{id}/timeline", { params: { path, query } }));
    const more = items.flatMap(({ comment, event }) => (comment ? ofComment(comment) : event ? ofEvent(event) : []));
    if (now.screen) show({ ...now.screen, items: added(now.screen.items, more), from: next_cursor && now.screen.from });
    if (next_cursor) await readAll(next_cursor);
  }

  const { screen } = now;
  if (!screen) return <Trouble failure={unread} />;
  const { ticket, from } = screen;
  const isStaff = me.role !== "requester";
  const mayResolve = isStaff && ticket.allowed_statuses.includes("resolved");
  const known = [me, ticket.assignee, ticket.team, ticket.requester];
  const changes = ({ type, changes }: Event) =>
    (type === "ticket.updated" ? changes.filter(({ field }) => !FOLLOWS.test(field)) : [])
      .map(({ field, before, after }) => `${field.replace("_id", "")} from ${said(before, known)} to ${said(after, known)}`)
      .join("; ");
  const all = [...screen.items.values()];
  // Whether it has files of its own, its trail tells alone.
  const mayHaveFiles = from || all.some(({ event }) => event?.type === "file.attached" && !event.comment_id);
  const items = all
    .filter(({ at, event }) => at >= (from ?? "") && !IN_COMMENTS.includes(event?.type ?? ""))
    .sort((one, other) => (one.at + one.id < other.at + other.id ? -1 : 1));
  return (
    <article>
      <h1>{ticket.subject} <small>#{ticket.number}</small></h1>
      <Facts of={ticket} isStaff={isStaff} />
      <p class="facts">
        {isStaff && <span>{ticket.requester?.email}</span>}
        {ticket.cost && <span>{span(ticket.cost.work_s)} of work</span>}
        {ticket.closes_at && <span>closes <At at={ticket.closes_at} /></span>}
      </p>
      {isStaff && ticket.assignee?.id !== me.id && ticket.status !== "closed" && (
        <button onClick={() => attempt(change({ assignee_id: "me" }))}>Assign to me</button>
      )}
      {ticket.allowed_statuses.map((status) => (
        <button key={status} onClick={() => attempt(change({ status }))}>{STATUS[status]}</button>
      ))}
      <Trouble failure={undone ?? unread} />
      <section class="timeline" aria-live="polite">
        <Text of={ticket.description} />
        {mayHaveFiles && <FilesOf id={id} />}
        {from && <button onClick={() => attempt(readAll())}>All that came before</button>}
        {items.map(({ id, at, comment, event }) =>
          comment ? (
            <div key={id} class={`comment ${comment.visibility} ${comment.author.kind}`}>
              <b>{comment.author.name}</b> {comment.visibility === "internal" && "internal"} <At at={at} />
              {comment.redacted_at ? <i>removed</i> : <Text of={comment.body} />}
              {comment.files.map((file) => <Attached key={file.id} file={file} />)}
            </div>
          ) : (
            <div key={id} class="event">
              {event?.actor?.name ?? "The desk"}, <At at={at} />: {event?.type.replace(/[._]/g, " ")} {event && changes(event)}
            </div>
          ),
        )}
      </section>
      {ticket.status !== "closed" && (
        <Writer name={`${me.id}-${ticket.id}`} hasInternal={isStaff} actions={[
          { label: "Reply", send: reply() },
          ...(mayResolve ? [{ label: "Reply and resolve", send: reply({ status: "resolved" }) }] : []),
        ]} />
      )}
    </article>
  );
}
