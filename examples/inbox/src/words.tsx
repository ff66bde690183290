// How things are said and shown.
import MarkdownIt from "markdown-it";
import { useEffect, useMemo, useState } from "preact/hooks";

import { ahead_ms, type Failure, type Named, type Status, type Ticket } from "./api";

// What somebody writes is never HTML of ours, and loads no picture from elsewhere, which would tell who reads it.
const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true }).disable("image");
markdown.validateLink = (url) => /^(https?|mailto):/i.test(url);
markdown.renderer.rules["link_open"] = (tokens, index, options, _, renderer) => {
  tokens[index]?.attrSet("rel", "noopener noreferrer");
  tokens[index]?.attrSet("target", "_blank");
  return renderer.renderToken(tokens, index, options);
};

export function Text({ of }: { of: string }) {
  const html = useMemo(() => markdown.render(of), [of]);
  return <div class="text" dangerouslySetInnerHTML={{ __html: html }} />;
}

export const STATUS: Record<Status, string> = {
  new: "new",
  open: "open",
  waiting_requester: "waiting for the customer",
  waiting_third_party: "waiting for others",
  resolved: "resolved",
  closed: "closed",
};

/** Decided by `code`. What is not here is told by the service, in English. */
const FAILURE: Partial<Record<Failure["code"], string>> = {
  no_answer: "There is no answer. Your text is kept here; send it again, which does no harm.",
  unavailable: "The desk is busy or being restarted. Your text is kept; try again in a moment.",
  rate_limited: "That was too much at once. Wait a moment and try again.",
  unauthenticated: "Your login has ended. Log in again; your text is kept.",
  token_expired: "Your login has ended. Log in again; your text is kept.",
  version_mismatch: "Somebody has answered or changed this meanwhile: see above. Your text is kept; send it if it still holds.",
  ticket_closed: "This is closed. Nothing can be added to it any more.",
  not_found: "There is no such ticket, or it is not for you to see.",
  body_too_large: "This file is too large.",
  file_not_scanned: "This file is still being scanned. Try again in a moment.",
  file_infected: "This file had a virus in it and was removed.",
};

export function Trouble({ failure }: { failure: Failure | undefined }) {
  if (!failure) return null;
  const { code, problem } = failure;
  return (
    <div class="trouble" role="alert" data-code={code}>
      {FAILURE[code] ?? failure.message}
      {problem?.errors?.map((fault) => <div>{`${fault.pointer} ${fault.detail}`}</div>)}
      {problem && <small title="Tell this to whoever runs the desk."> {problem.request_id}</small>}
    </div>
  );
}

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const At = ({ at }: { at: string }) => <time dateTime={at}>{when.format(new Date(at))}</time>;

export function span(s: number): string {
  const [days, hours, minutes] = [Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.max(0, Math.floor(s))} s`;
}

/** What is due next, by the clock of the service. */
export function Due({ next }: { next: Ticket["next_due"] }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((nth) => nth + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  if (!next) return null;
  const left_s = (Date.parse(next.due_at) - Date.now() - ahead_ms) / 1000;
  const target = next.target.replace("_", " ");
  return (
    <span class={left_s < 0 ? "due late" : "due"} title={when.format(new Date(next.due_at))}>
      {left_s < 0 ? `${target} late by ${span(-left_s)}` : `${target} due in ${span(left_s)}`}
    </span>
  );
}

/** A value in the trail: a word, a list, or somebody. What comes by the stream has ids of people and no names. */
export function said(value: unknown, known: (Partial<Named> | null)[]): string {
  if (value === null || value === "") return "none";
  if (Array.isArray(value)) return value.map((one) => said(one, known)).join(", ") || "none";
  if (typeof value === "object") return value && "name" in value ? String(value.name) : JSON.stringify(value);
  const word = String(value);
  const name = STATUS[word as Status] ?? known.find((one) => one?.id === word)?.name;
  return name ?? (/^[0-9a-f-]{36}$/.test(word) ? "another" : word);
}
