// Screenshots and other files: sent by themselves, shown by links that expire.
import { useEffect, useState } from "preact/hooks";

import { api, good, type SentFile } from "./api";
import { Trouble, useTrouble } from "./words";

/** What was sent from here is shown from here, by the ids of the files. */
const previews = new Map<string, string>();

/** `key` is the same for each try, so that an answer that was lost leaves no second file. */
export async function upload(file: File, key: string): Promise<SentFile> {
  const name = encodeURIComponent(file.name).replace(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  const answer = await api.POST("/v1/files", {
    params: { header: { "Content-Disposition": `attachment; filename*=UTF-8''${name}`, "Idempotency-Key": key } },
    headers: { "Content-Type": file.type || "application/octet-stream" },
    // To the document the bytes are a string; they are sent as they are.
    body: "",
    bodySerializer: () => file,
  });
  const sent = good(answer);
  previews.set(sent.id, URL.createObjectURL(file));
  return sent;
}

/** The files that were sent with the ticket itself. */
export function FilesOf({ id }: { id: string }) {
  const [files, setFiles] = useState<SentFile[]>([]);
  const [failure, attempt] = useTrouble();
  useEffect(() => {
    const answer = api.GET("/v1/tickets/{id}/files", { params: { path: { id } } });
    attempt(answer.then((answer) => setFiles(good(answer).items.filter((file) => file.comment_id === null))));
  }, []);
  return <>{files.map((file) => <Attached key={file.id} file={file} />)}<Trouble failure={failure} /></>;
}

export function Attached({ file }: { file: SentFile }) {
  const [source, setSource] = useState(previews.get(file.id));
  const [failure, attempt] = useTrouble();
  const [tries, setTries] = useState(0);
  const isPicture = file.inline_type?.startsWith("image/") && file.state !== "infected";
  // The browser gets it without a token, by a link that is good for five minutes.
  function open(inline: boolean, take: (url: string) => void) {
    const answer = api.POST("/v1/files/{id}/link", { params: { path: { id: file.id } }, body: { inline } });
    attempt(answer.then((answer) => take(good(answer).url)));
  }
  useEffect(() => void (isPicture && !source && open(true, setSource)), [source, file.state]);
  return (
    <span class="file">
      {isPicture && source ? (
        // A link that has expired before it was used is made once more, but not for ever.
        <img src={source} alt={file.name} tabIndex={0} onError={() => tries < 2 && (setTries(tries + 1), setSource(undefined))} />
      ) : (
        <button type="button" onClick={() => open(false, (url) => location.assign(url))}>
          {file.name}, {Math.ceil(file.size_b / 1024)} KiB
        </button>
      )}
      <Trouble failure={failure} />
    </span>
  );
}
