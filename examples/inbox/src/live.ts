// What happens, as it happens: one stream for the whole page, which goes on where it was, whatever comes between.
import { signal } from "@preact/signals";

import { pause, send, type Change } from "./api";
import { session } from "./login";

// Every 15 seconds something comes; a connection that is quiet for so long is dead, though nobody has said so.
const SILENCE_MS = 40_000;

export const isLive = signal(false);

const hearers = new Set<(change: Change | null) => void>();
const tell = (change: Change | null) => hearers.forEach((hear) => hear(change));

/** Calls `hear` with each change, and with null where changes were missed: read all again. Returns what ends it. */
export function onChange(hear: (change: Change | null) => void): () => void {
  hearers.add(hear);
  return () => void hearers.delete(hear);
}

let hasBegun = false;
let begin = () => {};
/** Who reads first and follows then misses what happens in between: so read after this. It does not wait for long. */
export const begun = new Promise<void>((done) => {
  begin = () => {
    hasBegun = true;
    done();
  };
});

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

/** Whoever looks at other pages needs no stream; one person may have eight, and a browser few connections to one host. */
const shown = () =>
  new Promise<void>((done) => {
    const look = () => {
      if (document.hidden) return begin();
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });

/** Follows until the login ends. */
export async function follow(): Promise<void> {
  let cursor = "";
  for (let failures = 0; session.value === "in"; ) {
    await shown();
    const stop = new AbortController();
    let silence = setTimeout(() => stop.abort(), SILENCE_MS);
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const headers = cursor ? { "Last-Event-ID": cursor } : undefined;
      const answer = await send("/v1/changes/stream", { ...(headers && { headers }), signal: stop.signal });
      // A place that is not known any more.
      if (answer.status === 400) cursor = "";
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      if (hasBegun && !cursor) tell(null);
      for await (const { id, event, data } of eventsOf(answer.body)) {
        clearTimeout(silence);
        silence = setTimeout(() => stop.abort(), SILENCE_MS);
        if (id) cursor = id;
        if (event === "end") break;
        if (event === "reset") tell(null);
        else if (data) tell(JSON.parse(data) as Change);
        isLive.value = true;
        failures = 0;
        begin();
      }
    } catch {
      failures += 1;
    }
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", hide);
    stop.abort();
    isLive.value = false;
    // Without it one can work, too.
    begin();
    if (!document.hidden) await pause(Math.min(2 ** failures, 15));
  }
}
