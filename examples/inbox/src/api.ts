// The API, typed from its document: what it does not have does not compile.
import createClient from "openapi-fetch";

import type { components, paths } from "../generated/skranke";
import { renew, session, token } from "./login";

export type Schemas = components["schemas"];
export type Change = Schemas["ChangeItem"];
export type Comment = Schemas["Comment"];
export type Event = Schemas["Event"];
export type Me = Schemas["Me"];
export type SentFile = Schemas["File"];
export type Status = Schemas["Status"];
export type Ticket = Schemas["Ticket"];
/** With `include`, its requester is the whole person, for those who may see that. */
export type TicketWithParts = Ticket & Omit<Schemas["TicketParts"], "requester"> & { requester: Partial<Schemas["User"]> | null };

/** Why something was not done: a `code` of the API, or `no_answer`. */
export class Failure {
  constructor(readonly code: Schemas["Problem"]["code"] | "no_answer", readonly problem?: Schemas["Problem"]) {}
}
export const failureOf = (error: unknown) => (error instanceof Failure ? error : (console.error(error), new Failure("no_answer")));

const TRIES = 3;
const LONGEST_WAIT_S = 5;
/** How far the clock of the service is ahead of this machine's, which may be wrong. */
export let ahead_ms = 0;

export const pause = (s: number) => new Promise((done) => setTimeout(done, s * 1000));

/** One request, with a token that is good; again, if that can do no harm and there is hope. */
export async function send(url: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const isSafeTwice = (init.method ?? "GET") === "GET" || headers.has("Idempotency-Key");
  for (let nth = 1; ; nth += 1) {
    headers.set("Authorization", `Bearer ${(await token()) ?? ""}`);
    const answer = await fetch(url, { ...init, headers }).catch((error: unknown) => {
      if (init.signal?.aborted) throw error;
      return undefined;
    });
    const date = answer?.headers.get("Date");
    if (date) ahead_ms = Date.parse(date) - Date.now();
    if (answer?.status === 401) {
      if (nth === 1 && (await renew())) continue;
      session.value = "ended";
    }
    // A 409 behind an answer that was lost: the first try is still being carried out.
    if (answer && ![429, 502, 503, 504, nth > 1 ? 409 : 0].includes(answer.status)) return answer;
    const wait_s = Number(answer?.headers.get("Retry-After")) || nth;
    // A 429 was not carried out. Of what has no answer nobody knows.
    if (nth < TRIES && wait_s <= LONGEST_WAIT_S && (isSafeTwice || answer?.status === 429)) await pause(wait_s);
    else if (answer) return answer;
    else throw new Failure("no_answer");
  }
}

export const api = createClient<paths>({
  baseUrl: location.origin,
  querySerializer: { array: { style: "form", explode: false } },
  fetch: async (request) => {
    const { url, method, headers, signal } = request;
    return send(url, { method, headers, signal, ...(method !== "GET" && { body: await request.blob() }) });
  },
});

export type Answer<T> = { data?: T | undefined; error?: unknown; response: Response };
/** The body of a success, or a `Failure`. */
export function good<T>({ data, error, response }: Answer<T>): NonNullable<T> {
  if (data !== undefined && data !== null) return data;
  const problem = (typeof error === "object" ? error : undefined) as Schemas["Problem"] | undefined;
  // Without a code, something between here and the service has answered.
  throw new Failure(problem?.code ?? (response.status >= 500 ? "unavailable" : "no_answer"), problem);
}
