// How things are said and shown.
import { signal } from "@preact/signals";
import MarkdownIt from "markdown-it";
import { useMemo, useState } from "preact/hooks";

import { ahead_ms, failureOf, type Failure, type Schemas, type Status, type Ticket, type TicketWithParts } from "./api";

// What somebody writes is never HTML of ours, and loads no picture from elsewhere, which would tell who reads it.
const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true }).disable("image");
markdown.validateLink = (url) => /^(https?|mailto):/i.test(url);

export function Text({ of }: { of: string }) {
  const html = useMemo(() => markdown.render(of), [of]);
  return <div class="text" dangerouslySetInnerHTML={{ __html: html }} />;
}

export const STATUS: Record<Status, string> = {
  new: "new", open: "open", resolved: "resolved", closed: "closed",
  waiting_requester: "waiting for the customer", waiting_third_party: "waiting for others",
};

const ENDED = "Your login has ended. Log in again; your text is kept.";
/** Decided by `code`. What is not here is told by the service, in English. */
const FAILURE: Partial<Record<Failure["code"], string>> = {
  no_answer: "There is no answer. Your text is kept here; send it again, which does no harm.",
  unavailable: "The desk is busy or being restarted. Your text is kept; try again in a moment.",
  unauthenticated: ENDED,
  token_expired: ENDED,
  version_mismatch: "Somebody has answered or changed this meanwhile: see above. Your text is kept; send it if it still holds.",
  not_found: "There is no such ticket, or it is not for you to see.",
  file_not_scanned: "This file is still being scanned. Try again in a moment.",
};

export function Trouble({ failure }: { failure: Failure | undefined }) {
  if (!failure) return null;
  const { code, problem } = failure;
  return (
    <div class="trouble" role="alert" data-code={code}>
      {FAILURE[code] ?? problem?.detail}
      {problem?.errors?.map((fault) => <div>{`${fault.pointer} ${fault.detail}`}</div>)}
      {problem && <small title="Tell this to whoever runs the desk."> {problem.request_id}</small>}
    </div>
  );
}

/** What went wrong last, and a way to try something, which tells. */
export function useTrouble() {
  const [failure, setFailure] = useState<Failure>();
  const attempt = (work: Promise<unknown>) =>
    void work.then(() => setFailure(undefined), (error: unknown) => setFailure(failureOf(error)));
  return [failure, attempt] as const;
}

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const At = ({ at }: { at: string }) => <time dateTime={at}>{when.format(new Date(at))}</time>;

export function span(s: number): string {
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min` : `${Math.floor(s)} s`;
}

const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 1000);

/** What is due next, by the clock of the service. */
export function Due({ next }: { next: Ticket["next_due"] }) {
  if (!next) return null;
  const left_s = (Date.parse(next.due_at) - now.value - ahead_ms) / 1000;
  return (
    <span class={left_s < 0 ? "late" : ""} title={when.format(new Date(next.due_at))}>
      {next.target.replace("_", " ")} {left_s < 0 ? "late by" : "due in"} {span(Math.abs(left_s))}
    </span>
  );
}

/** What a list and the page of a ticket both tell of it. */
export function Facts({ of, isStaff }: { of: Schemas["TicketSummary"] | TicketWithParts; isStaff: boolean }) {
  return (
    <div class="facts">
      <b data-status={of.status}>{STATUS[of.status]}</b>
      <Due next={of.next_due} />
      {isStaff && <span>{of.priority}</span>}
      {isStaff && <span>from {of.requester?.name ?? "nobody"}</span>}
      <span>{of.assignee ? `with ${of.assignee.name}` : "with nobody yet"}</span>
    </div>
  );
}

/** A value in the trail: a word, a list, or somebody. What comes by the stream has ids of people and no names. */
export function said(value: unknown, known: (Partial<Schemas["Named"]> | null)[]): string {
  if (value === null || value === "") return "none";
  if (Array.isArray(value)) return value.map((one) => said(one, known)).join(", ") || "none";
  if (typeof value === "object") return value && "name" in value ? String(value.name) : JSON.stringify(value);
  const word = String(value);
  const name = STATUS[word as Status] ?? known.find((one) => one?.id === word)?.name;
  return name ?? (/^[0-9a-f-]{36}$/.test(word) ? "another" : word);
}
