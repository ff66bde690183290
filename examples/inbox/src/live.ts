// What happens, as it happens: one stream for the whole page, which goes on where it was, whatever comes between.
import { signal } from "@preact/signals";

import { pause, send, type Change } from "./api";
import { session } from "./login";

// Every 15 seconds something comes: a connection that is quiet for so long is dead, though nobody has said so.
const SILENCE_MS = 40_000;

export const isLive = signal(false);

const first = Promise.withResolvers<void>();
/** Who reads and then follows misses what happens in between: read after this. It does not wait for long. */
export const begun = first.promise;

const hearers = new Set<(change: Change | null) => void>();
const tell = (change: Change | null) => hearers.forEach((hear) => hear(change));

/** Calls `hear` with each change, and with null where changes were missed: read all again. Returns what ends it. */
export function onChange(hear: (change: Change | null) => void): () => void {
  hearers.add(hear);
  return () => void hearers.delete(hear);
}

/** The events of a stream. An `id` comes alone, too: it moves on over what is not for this reader. */
async function* eventsOf(body: ReadableStream<Uint8Array>) {
  const [reader, decoder] = [body.getReader(), new TextDecoder()];
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string) => block.match(new RegExp(`^${name}: ?(.*)$`, "m"))?.[1];
      yield { id: field("id"), event: field("event"), data: field("data") };
    }
  }
}

const lookedAt = () => new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));

/** Follows until the login ends. */
export async function follow(): Promise<void> {
  let [cursor, hasTried, failures] = ["", false, 0];
  while (session.value === "in") {
    // Whoever looks at other pages needs none: one person may have eight, and a browser few connections to one host.
    while (document.hidden) await lookedAt();
    const stop = new AbortController();
    let silence = setTimeout(() => stop.abort(), SILENCE_MS);
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide, { signal: stop.signal });
    try {
      const headers: HeadersInit = cursor ? { "Last-Event-ID": cursor } : {};
      const answer = await send("/v1/changes/stream", { headers, signal: stop.signal });
      // A place that is not known any more.
      if (answer.status === 400) cursor = "";
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      if (hasTried && !cursor) tell(null);
      for await (const { id, event, data } of eventsOf(answer.body)) {
        clearTimeout(silence);
        silence = setTimeout(() => stop.abort(), SILENCE_MS);
        [cursor, failures, isLive.value] = [id ?? cursor, 0, event !== "end"];
        first.resolve();
        if (event === "end") break;
        if (event === "reset") tell(null);
        else if (data) tell(JSON.parse(data) as Change);
      }
    } catch {
      failures += 1;
    }
    clearTimeout(silence);
    stop.abort();
    [hasTried, isLive.value] = [true, false];
    // Without it one can work, too.
    first.resolve();
    if (!document.hidden) await pause(Math.min(2 ** failures, 15));
  }
}
