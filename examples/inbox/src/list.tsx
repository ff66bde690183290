// Lists of tickets with their badges, and a form for another one.
import { useEffect, useRef, useState } from "preact/hooks";

import { api, good, pause, type Me, type Schemas } from "./api";
import { begun, onChange } from "./live";
import { At, Facts, Trouble, useTrouble } from "./words";
import { fileIds, Writer, type Draft } from "./writer";

type Row = Schemas["TicketSummary"];
// Each is a filter of the list, and counts for a badge in the same words.
type Filter = { status?: ["unsolved"]; assignee_id?: ["me" | "none"] };
const STAFF: Record<string, Filter> = {
  mine: { status: ["unsolved"], assignee_id: ["me"] },
  unassigned: { status: ["unsolved"], assignee_id: ["none"] },
  unsolved: { status: ["unsolved"] },
};
const CUSTOMER: Record<string, Filter> = { open: { status: ["unsolved"] }, all: {} };
const asCounted = (filter: Filter) => Object.fromEntries(Object.entries(filter).map(([field, values]) => [field, values.join()]));
const REST_S = 2;

export function ListScreen({ chosen, me }: { chosen: string; me: Me }) {
  const isStaff = me.role !== "requester";
  const filters = isStaff ? STAFF : CUSTOMER;
  const name = chosen in filters ? chosen : Object.keys(filters)[0]!;
  const [rows, setRows] = useState<Row[]>();
  const [next, setNext] = useState<string | null>(null);
  const [badges, setBadges] = useState<Schemas["Counts"]["counts"]>({});
  const [failure, attempt] = useTrouble();
  const shown = useRef(0);

  async function readRows(cursor?: string) {
    const place = cursor ? { cursor } : { limit: Math.min(Math.max(shown.current, 50), 200) };
    const sort = isStaff ? "-priority,due_at" : "-updated_at";
    const page = good(await api.GET("/v1/tickets", { params: { query: { ...filters[name], ...place, sort, view: "summary" } } }));
    // That these are rows follows from `view`, which a type cannot say. What moves while one walks may be met twice.
    const all = new Map([...((cursor && rows) || []), ...(page.items as Row[])].map((row) => [row.id, row]));
    shown.current = all.size;
    setRows([...all.values()]);
    setNext(page.next_cursor);
  }

  async function readBadges() {
    const filters = Object.fromEntries(Object.entries(STAFF).map(([name, filter]) => [name, asCounted(filter)]));
    setBadges(good(await api.POST("/v1/tickets/counts", { body: { filters } })).counts);
  }

  useEffect(() => {
    let [isBusy, isWanted] = [false, false];
    // Once for all that has happened meanwhile, and with rests: in a busy house something happens all the time.
    async function read() {
      isWanted = true;
      if (isBusy) return;
      for (isBusy = true; isWanted; await pause(REST_S)) {
        isWanted = false;
        const work = Promise.all([readRows(), isStaff && readBadges()]);
        attempt(work);
        await work.catch(() => undefined);
      }
      isBusy = false;
    }
    void begun.then(read);
    return onChange((change) => void ((!change || change.ticket) && read()));
  }, []);

  return (
    <section>
      <nav>
        {Object.keys(filters).map((key) => (
          <a key={key} href={`#/${key}`} aria-current={key === name ? "page" : undefined}>
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
              <Facts of={row} isStaff={isStaff} />
              {row.last_comment && (
                <div class="last">{row.last_comment.author.name}, <At at={row.last_comment.at} />: {row.last_comment.excerpt}</div>
              )}
            </a>
          </li>
        ))}
      </ul>
      {next && <button onClick={() => attempt(readRows(next))}>More</button>}
    </section>
  );
}

export function NewTicket({ me }: { me: Me }) {
  async function report(draft: Draft) {
    const body = { subject: draft.subject, description: draft.text, file_ids: fileIds(draft) };
    const ticket = good(await api.POST("/v1/tickets", { params: { header: { "Idempotency-Key": draft.key } }, body }));
    location.hash = `#/tickets/${ticket.number}`;
  }
  return <Writer name={`${me.id}-new`} hasSubject actions={[{ label: "Report", send: report }]} />;
}
