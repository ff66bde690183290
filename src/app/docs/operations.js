// One operation: what it takes, what it gives, and a form that sends it to this very service.

import { addressOf, token } from "./account.js";
import { copyButton, foldable, make } from "./elements.js";
import { codeBlock, markdown } from "./markdown.js";
import { exampleOf, factsOf, formFields, leastOf, resolve, said, schemaView, typeOf } from "./schemas.js";

const FORM = "application/x-www-form-urlencoded";

/** What is shown of an operation when it is opened. */
export function operationView({ method, path, operation }) {
  return [
    markdown(operation.description),
    callersView(operation),
    tryForm(method, path, operation),
    make("h3", {}, "Answers"),
    Object.entries(operation.responses).map(([status, response]) => answerView(status, resolve(response))),
  ].flat(Infinity);
}

/** Each way in which a caller may be known is a list of scopes. */
function waysOf(operation) {
  const ways = (operation.security ?? []).map((way) => Object.values(way).flat().join(" and "));
  return (operation.security ?? []).some((way) => Object.keys(way).length > 0) ? [...new Set(ways)] : undefined;
}

function callersView(operation) {
  const ways = waysOf(operation);
  if (!ways) return make("p.callers", {}, "Needs no token.");
  const scopes = ways.filter(Boolean).map((way, nth) => [nth > 0 ? ", or " : "", make("code", {}, way)]);
  return make("p.callers", {}, "Needs a token", scopes.length > 0 ? [" with the scope ", scopes] : "", ".");
}

function answerView(status, response) {
  // No links in here: what is clicked opens the answer.
  const short = status < 400 ? response.description.replaceAll("`", "") : codesIn(response);
  const summary = [make("strong", {}, status), " ", make("span.said", {}, short)];
  return foldable(`.answer.of-${status[0]}`, {}, summary, () => [
    ...markdown(response.description),
    headersView(response.headers ?? {}),
    ...Object.entries(response.content ?? {}).flatMap(([type, media]) => mediaView(type, media)),
  ]);
}

/** The codes of an error answer: what its description has before each colon. */
const codesIn = (response) =>
  [...response.description.matchAll(/^`(\w+)`:/gm)].map(([, code]) => code).join(", ") || response.description;

function headersView(headers) {
  const items = Object.entries(headers).map(([name, header]) =>
    make("li", {}, make("code", {}, name), " ", said(resolve(header).description)),
  );
  return items.length > 0 ? make("ul", {}, items) : "";
}

function mediaView(type, media) {
  const examples = examplesOf(media);
  return [
    make("p.type", {}, type),
    type.endsWith("json") ? schemaView(media.schema) : make("p", {}, typeOf(media.schema)),
    ...examples.map(([name, example]) =>
      foldable(".part", {}, name ? `Example: ${name}` : "Example", () => codeBlock(written(example))),
    ),
  ];
}

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function examplesOf(media) {
  const named = Object.entries(media.examples ?? {}).map(([name, example]) => [
    resolve(example).summary ?? name,
    resolve(example).value,
  ]);
  return named.length > 0 ? named : [["", media.example ?? exampleOf(media.schema)]];
}

/** The form of an operation: nothing is filled in that may be left out. */
function tryForm(method, path, operation) {
  const parameters = (operation.parameters ?? []).map(resolve);
  const rows = parameters.map((parameter) => parameterRow(operation.operationId, parameter));
  const body = operation.requestBody && bodyPart(resolve(operation.requestBody));
  const output = make("div.output", { "aria-live": "polite" });
  const request = () => requestOf(method, path, operation, parameters, form, body);
  const command = make("pre", { tabindex: "0" });
  const form = make(
    "form.try",
    {
      submit: (event) => {
        event.preventDefault();
        send(request(), form, output);
      },
      input: () => (command.textContent = curl(request())),
    },
    rows.length > 0 ? make("table.fields", {}, make("tbody", {}, rows)) : "",
    body?.element ?? "",
    make(
      "p.row.sending",
      {},
      make("button.send", { type: "submit" }, "Send"),
      make("button.stop", { type: "button", hidden: true }, "Stop"),
    ),
    foldable(".part", {}, "As a command", () =>
      make(
        "div.code",
        {},
        command,
        copyButton(() => command.textContent),
      ),
    ),
  );
  // Whoever changes the body's kind or takes an example changes what is sent, too.
  form.addEventListener("click", () => (command.textContent = curl(request())));
  command.textContent = curl(request());
  return [make("h3", {}, "Request"), form, output];
}

function parameterRow(operationId, parameter) {
  const { name, in: place, required, description } = parameter;
  const id = `${operationId}-${place}-${name}`;
  const mark = required ? make("span.required", {}, "required") : "";
  return make(
    "tr",
    {},
    make(
      "th",
      { scope: "row" },
      make("label", { for: id }, make("code", {}, name)),
      mark,
      make("span.type", {}, place, " · ", typeOf(parameter.schema)),
    ),
    make(
      "td",
      {},
      fieldFor(parameter, { id, name: `${place} ${name}` }),
      markdown(description),
      factsOf(parameter.schema),
    ),
  );
}

/** What a value is entered in: empty, also where there is an example. */
function fieldFor({ schema, required, example }, attributes) {
  const { type, enum: words, format, examples } = resolve(schema);
  const choice = type === "boolean" ? [true, false] : words;
  if (choice) {
    return make(
      "select",
      { ...attributes, required },
      ["", ...choice].map((word) => make("option", { value: word }, String(word ?? ""))),
    );
  }
  const shown = example ?? examples?.[0];
  const kind = format === "password" ? "password" : "text";
  const placeholder = shown === undefined ? undefined : [shown].flat().join(",");
  return make("input", {
    ...attributes,
    type: kind,
    required,
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
  });
}

/** Where a body is entered: as text, as the fields of a form, or as a file. */
function bodyPart({ content, required, description }) {
  const types = Object.keys(content);
  const kind = make(
    "select",
    { "aria-label": "Media type" },
    types.map((type) => make("option", {}, type)),
  );
  const place = make("div");
  let read;
  const show = () => {
    const media = content[kind.value];
    const editor =
      kind.value === FORM ? formEditor(media) : isText(kind.value) ? textEditor(media, required) : fileEditor(required);
    read = editor.read;
    place.replaceChildren(...editor.elements.flat(Infinity).filter(Boolean));
  };
  kind.addEventListener("change", show);
  show();
  const element = make(
    "div.body",
    {},
    make("p.row", {}, make("strong", {}, "Body"), types.length > 1 ? kind : make("span.type", {}, types[0])),
    markdown(description),
    place,
  );
  return { element, read: () => read(), type: () => kind.value };
}

const isText = (type) => type.endsWith("json") || type.startsWith("text/");

function textEditor(media, required) {
  const examples = examplesOf(media);
  const least = leastOf(media.schema, examples[0][1]);
  const text = make("textarea", { rows: 8, required, spellcheck: "false", "aria-label": "Body" });
  text.value = media.schema?.type === "string" ? "" : written(least);
  const take = examples.map(([name, example]) =>
    make(
      "button",
      { type: "button", click: () => (text.value = written(example)) },
      name ? `Example: ${name}` : "Example",
    ),
  );
  const schema =
    media.schema?.type === "string" ? "" : foldable(".part", {}, "What it may have", () => schemaView(media.schema));
  return { elements: [text, make("p.row", {}, take), schema], read: () => text.value };
}

function formEditor({ schema }) {
  const fields = formFields(schema);
  const rows = fields.map((field) => {
    const mark = field.required ? make("span.required", {}, "required") : "";
    const label = make("th", { scope: "row" }, make("code", {}, field.name), mark);
    const input = fieldFor(field, { name: `form ${field.name}`, "aria-label": field.name });
    return make("tr", {}, label, make("td", {}, input, markdown(field.schema.description)));
  });
  const table = make("table.fields", {}, make("tbody", {}, rows));
  const read = () => {
    const inputs = [...table.querySelectorAll("input, select")].filter((input) => input.value !== "");
    return new URLSearchParams(inputs.map((input) => [input.name.replace("form ", ""), input.value])).toString();
  };
  return { elements: [table], read };
}

function fileEditor(required) {
  const file = make("input", { type: "file", required, "aria-label": "Body" });
  return { elements: [file], read: () => file.files[0] };
}

/** What would be sent with what is in `form` now. */
function requestOf(method, path, operation, parameters, form, body) {
  const given = ({ in: place, name }) => form?.elements[`${place} ${name}`]?.value ?? "";
  const of = (place) =>
    parameters.filter((parameter) => parameter.in === place).map((parameter) => [parameter.name, given(parameter)]);
  const filled = of("path").reduce(
    (whole, [name, value]) => whole.replace(`{${name}}`, value ? encodeURIComponent(value) : `{${name}}`),
    path,
  );
  const query = of("query")
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`);
  const headers = Object.fromEntries(of("header").filter(([, value]) => value !== ""));
  const content = body?.read();
  if (content) headers["Content-Type"] = body.type();
  const url =
    addressOf(filled).href.replaceAll("%7B", "{").replaceAll("%7D", "}") +
    (query.length > 0 ? `?${query.join("&")}` : "");
  return { method: method.toUpperCase(), url, headers, content, isSecured: Boolean(waysOf(operation)) };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The same for a shell. The token stays out of it: commands are passed on. */
function curl({ method, url, headers, content, isSecured }) {
  const parts = [`curl -sS -i${method === "GET" ? "" : ` -X ${method}`} ${quoted(url)}`];
  if (isSecured) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (content instanceof File) parts.push(`--data-binary ${quoted(`@${content.name}`)}`);
  else if (content) parts.push(`--data-raw ${quoted(content)}`);
  return parts.join(" \\\n  ");
}

/** Of an answer that does not end, or is long, no more than this is shown. */
const SHOWN_CHARS = 1_000_000;

async function send({ method, url, headers, content, isSecured }, form, output) {
  const [button, stop] = [form.querySelector(".send"), form.querySelector(".stop")];
  const going = new AbortController();
  const status = make("p.status", {}, "…");
  output.replaceChildren(status);
  stop.onclick = () => going.abort();
  [button.disabled, stop.hidden] = [true, false];
  const begun = performance.now();
  try {
    const authorization = isSecured && token() ? { authorization: `Bearer ${token()}` } : {};
    const sent = {
      method,
      body: content || undefined,
      headers: { ...headers, ...authorization },
      signal: going.signal,
    };
    const answer = await fetch(url, { ...sent, cache: "no-store", credentials: "omit" });
    const took = Math.round(performance.now() - begun);
    status.replaceChildren(
      make(`strong.of-${String(answer.status)[0]}`, {}, `${answer.status} ${answer.statusText}`),
      ` after ${took} ms`,
    );
    const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.append(foldable(".part", {}, "Headers", () => codeBlock(lines)));
    await show(answer, output);
  } catch (error) {
    output.append(make("p", {}, error.name === "AbortError" ? "Stopped." : `There is no answer: ${error.message}`));
  } finally {
    [button.disabled, stop.hidden] = [false, true];
  }
}

async function show(answer, output) {
  const type = answer.headers.get("content-type") ?? "";
  if (type && !/json|^text\/|openmetrics/.test(type)) {
    const file = await answer.blob();
    const link = make("a", { href: URL.createObjectURL(file), download: "" }, `Save ${file.size} bytes of ${type}`);
    return output.append(make("p", {}, link));
  }
  const shown = make("pre", { tabindex: "0" });
  output.append(
    make(
      "div.code",
      {},
      shown,
      copyButton(() => shown.textContent),
    ),
  );
  // Streams are shown as they come.
  const decoder = new TextDecoder();
  const reader = answer.body?.getReader();
  let text = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
    text += decoder.decode(part.value, { stream: true });
    shown.textContent = text.slice(0, SHOWN_CHARS);
    if (text.length > SHOWN_CHARS) await reader.cancel();
  }
  try {
    shown.textContent = JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN_CHARS);
  } catch {
    // What is not one piece of JSON is shown as it came.
  }
  if (text === "") shown.parentElement.remove();
}
