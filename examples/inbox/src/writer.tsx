// Where one writes: the text, its files, and the buttons that send it. What is not sent yet is kept for this tab.
import { useState } from "preact/hooks";

import { failureOf, type Failure, type SentFile } from "./api";
import { Attached, upload } from "./files";
import { Trouble, useTrouble } from "./words";

/** A file that is being sent, is there, or has failed. */
type Piece = { file?: File; sent?: SentFile; failure?: Failure };
/** `key` is the Idempotency-Key of what was `tried` last: the same again is carried out once. Pieces have their own. */
export type Draft = { subject: string; text: string; internal: boolean; pieces: Record<string, Piece>; key: string; tried: string };
export type Action = { label: string; send: (draft: Draft) => Promise<void> };

const EMPTY: Draft = { subject: "", text: "", internal: false, pieces: {}, key: "", tried: "" };

export const fileIds = ({ pieces }: Draft) => Object.values(pieces).flatMap(({ sent }) => sent?.id ?? []);

function keptDraft(place: string): Draft {
  const kept = { ...EMPTY, ...(JSON.parse(sessionStorage.getItem(place) ?? "{}") as Partial<Draft>) };
  return { ...kept, pieces: Object.fromEntries(Object.entries(kept.pieces).filter(([, { sent }]) => sent)) };
}

/** `name` tells drafts apart. */
export function Writer(props: { name: string; actions: Action[]; hasSubject?: boolean; hasInternal?: boolean }) {
  const place = `draft-${props.name}`;
  const [draft, setDraft] = useState(() => keptDraft(place));
  const [failure, attempt] = useTrouble();
  const [isBusy, setBusy] = useState(false);

  const change = (part: (now: Draft) => Partial<Draft>) =>
    setDraft((now) => {
      const next = { ...now, ...part(now) };
      sessionStorage.setItem(place, JSON.stringify(next));
      return next;
    });
  const put = (key: string, piece?: Piece) =>
    change(({ pieces: { [key]: _, ...others } }) => ({ pieces: piece ? { ...others, [key]: piece } : others }));

  async function attach(file: File, key: string = crypto.randomUUID()) {
    put(key, { file });
    await upload(file, key).then((sent) => put(key, { sent }), (error) => put(key, { file, failure: failureOf(error) }));
  }

  function take(event: Event, files: FileList | null | undefined) {
    if (!files?.length) return;
    event.preventDefault();
    for (const file of files) void attach(file);
  }

  function run({ label, send }: Action) {
    const tried = JSON.stringify([label, draft.subject, draft.text, draft.internal, fileIds(draft)]);
    const key = tried === draft.tried ? draft.key : crypto.randomUUID();
    change(() => ({ key, tried }));
    setBusy(true);
    const isSent = send({ ...draft, key }).finally(() => setBusy(false));
    attempt(isSent.then(() => sessionStorage.removeItem(place)).then(() => setDraft(EMPTY)));
  }

  const isWritten = draft.text.trim() !== "" && (!props.hasSubject || draft.subject.trim() !== "");
  const isReady = isWritten && !isBusy && Object.values(draft.pieces).every(({ sent }) => sent);
  return (
    <form class={draft.internal ? "writer internal" : "writer"} onSubmit={(event) => event.preventDefault()}
      onDragOver={(event) => event.preventDefault()} onDrop={(event) => take(event, event.dataTransfer?.files)}>
      {props.hasSubject && (
        <input aria-label="Subject" placeholder="What is it about?" maxLength={255} value={draft.subject}
          onInput={({ currentTarget: { value } }) => change(() => ({ subject: value }))} />
      )}
      <textarea aria-label="Text" placeholder="Write here. Screenshots can be pasted." rows={5} disabled={isBusy} value={draft.text}
        onPaste={(event) => take(event, event.clipboardData?.files)}
        onInput={({ currentTarget: { value } }) => change(() => ({ text: value }))} />
      {Object.entries(draft.pieces).map(([key, { file, sent, failure }]) => (
        <div key={key}>
          {sent ? <Attached file={sent} /> : `${file?.name}: ${failure ? "" : "is being sent …"}`}
          <Trouble failure={failure} />
          {failure && file && <button type="button" onClick={() => void attach(file, key)}>Try again</button>}
          {(sent ?? failure) && <button type="button" onClick={() => put(key)}>Leave it out</button>}
        </div>
      ))}
      <Trouble failure={failure} />
      {props.actions.map((action) => (
        <button type="button" class="primary" disabled={!isReady} onClick={() => run(action)}>{action.label}</button>
      ))}
      <label class="button">Attach <input type="file" multiple hidden onChange={(event) => take(event, event.currentTarget.files)} /></label>
      {props.hasInternal && (
        <label>
          <input type="checkbox" checked={draft.internal} onChange={(event) => change(() => ({ internal: event.currentTarget.checked }))} />
          internal: the customer does not see it
        </label>
      )}
    </form>
  );
}
