// Lists of tickets with their badges, and a form for another one.
import { useEffect, useMemo, useState } from "preact/hooks";

import { api, failureOf, gently, good, type Failure, type Me, type TicketRow } from "./api";
import { begun, onChange } from "./live";
import { At, Due, STATUS, Trouble } from "./words";
import { fileIds, Writer, type Draft } from "./writer";

// Each is a filter of the list, and counts for a badge in the same words.
type Filter = { status?: ["unsolved"]; assignee_id?: ["me" | "none"] };
const STAFF: Record<string, Filter> = {
  mine: { status: ["unsolved"], assignee_id: ["me"] },
  unassigned: { status: ["unsolved"], assignee_id: ["none"] },
  unsolved: { status: ["unsolved"] },
};
const CUSTOMER: Record<string, Filter> = { open: { status: ["unsolved"] }, all: {} };
const asCounted = (filter: Filter) => Object.fromEntries(Object.entries(filter).map(([field, values]) => [field, values.join()]));
// In a busy house something happens all the time.
const REST_S = 2;
const PAGE = 50;
const MOST = 200;

export function ListScreen({ chosen, me }: { chosen: string; me: Me }) {
  const isStaff = me.role !== "requester";
  const filters = isStaff ? STAFF : CUSTOMER;
  const name = chosen in filters ? chosen : Object.keys(filters)[0]!;
  const [rows, setRows] = useState<TicketRow[]>();
  const [next, setNext] = useState<string | null>(null);
  const [badges, setBadges] = useState<Record<string, { count: number; exact: boolean }>>({});
  const [failure, setFailure] = useState<Failure>();
  const shown = useMemo(() => ({ count: 0 }), []);

  async function readRows(cursor?: string) {
    const place = cursor ? { cursor } : { limit: Math.min(Math.max(shown.count, PAGE), MOST) };
    const sort = isStaff ? "-priority,due_at" : "-updated_at";
    const page = good(await api.GET("/v1/tickets", { params: { query: { ...filters[name], ...place, sort, view: "summary" } } }));
    // That these are rows follows from `view`, which a type cannot say.
    const all = [...(cursor ? (rows ?? []) : []), ...(page.items as TicketRow[])];
    shown.count = all.length;
    setRows(all);
    setNext(page.next_cursor);
  }

  async function readBadges() {
    const filters = Object.fromEntries(Object.entries(STAFF).map(([name, filter]) => [name, asCounted(filter)]));
    setBadges(good(await api.POST("/v1/tickets/counts", { body: { filters } })).counts);
  }

  const attempt = (work: Promise<unknown>) =>
    work.then(() => setFailure(undefined)).catch((error: unknown) => setFailure(failureOf(error)));
  const read = useMemo(() => gently(() => attempt(Promise.all([readRows(), isStaff && readBadges()])), REST_S), []);
  useEffect(() => {
    void begun.then(read);
    return onChange((change) => void ((!change || change.ticket) && read()));
  }, []);

  return (
    <section>
      <nav>
        {Object.keys(filters).map((key) => (
          <a key={key} href={`#/${key}`} class={key === name ? "chosen" : ""}>
            {key} {badges[key] && <b data-badge={key}>{badges[key].count}{badges[key].exact ? "" : " or more"}</b>}
          </a>
        ))}
        {!isStaff && <a href="#/new">report a problem</a>}
      </nav>
      <Trouble failure={failure} />
      {rows?.length === 0 && <p>Nothing here.</p>}
      <ul class="rows">
        {rows?.map((row) => (
          <li key={row.id}>
            <a href={`#/tickets/${row.number}`}>
              <b>{row.subject}</b> <small>#{row.number}</small>
              <div class="facts">
                <span data-status={row.status}>{STATUS[row.status]}</span>
                <Due next={row.next_due} />
                {isStaff && <span>{row.priority}</span>}
                {isStaff && <span>from {row.requester?.name ?? "nobody"}</span>}
                {row.assignee && <span>with {row.assignee.name}</span>}
              </div>
              {row.last_comment && (
                <div class="last">{row.last_comment.author.name}, <At at={row.last_comment.at} />: {row.last_comment.excerpt}</div>
              )}
            </a>
          </li>
        ))}
      </ul>
      {next && <button onClick={() => void attempt(readRows(next))}>More</button>}
    </section>
  );
}

export function NewTicket({ me }: { me: Me }) {
  async function report(draft: Draft) {
    const body = { subject: draft.subject, description: draft.text, channel: "web" as const, file_ids: fileIds(draft) };
    const ticket = good(await api.POST("/v1/tickets", { params: { header: { "Idempotency-Key": draft.key } }, body }));
    location.hash = `#/tickets/${ticket.number}`;
  }
  return <Writer name={`${me.id}-new`} hasSubject actions={[{ label: "Report", send: report }]} />;
}
