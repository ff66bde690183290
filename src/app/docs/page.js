// The page as a whole: the guide, the operations, the schemas and the errors of /openapi.json, a table of contents
// with a filter, and addresses that lead to each of them.

import { accountDialog, addressOf, base } from "./account.js";
import { foldable, make, unfold } from "./elements.js";
import { anchors, inline, markdown, slug } from "./markdown.js";
import { operationView } from "./operations.js";
import { referTo, schemaView } from "./schemas.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/** Where the examples of the guide think that the service is. */
const EXAMPLE_BASE = "http://127.0.0.1:8080";

const [main, contents, filter, found] = ["main", "#contents", "#filter", "#found"].map((what) =>
  document.querySelector(what),
);

/** Everything that the filter can hide: its text, its place on the page, its line in the contents. */
const entries = [];

/** All operations, in the order of the document's tags. */
function operationsByTag(api) {
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => ({ method, path, operation: item[method] })),
  );
  const named = new Map((api.tags ?? []).map((tag) => [tag.name, { ...tag, operations: [] }]));
  for (const one of all) {
    const [name = "other"] = one.operation.tags ?? [];
    if (!named.has(name)) named.set(name, { name, operations: [] });
    named.get(name).operations.push(one);
  }
  return [...named.values()].filter((tag) => tag.operations.length > 0);
}

/** The description, a section for each of its headings. */
function sectionsOf(description) {
  const text = description.replaceAll(EXAMPLE_BASE, base.href.replace(/\/$/, ""));
  const sections = [make("section")];
  for (const block of markdown(text)) {
    if (block.tagName === "H2") sections.push(make("section"));
    sections.at(-1).append(block);
  }
  return sections;
}

/** A section of the contents with a line for each of `items`. */
function contentsOf(title, id, items) {
  contents.append(make("section", {}, make("h2", {}, make("a", { href: `#${id}` }, title)), make("ul", {}, items)));
}

function contentsLine(id, label) {
  return make("li", {}, make("a", { href: `#${id}` }, label));
}

/** An entry that the filter finds by `text`. */
function entry(text, element, line) {
  entries.push({ text: text.toLowerCase(), element, line });
  return element;
}

function tagSection({ name, description, operations }) {
  const id = `tag-${slug(name)}`;
  const lines = [];
  const blocks = operations.map((one) => {
    const { method, path, operation } = one;
    const badge = () => make(`span.method.${method}`, {}, method.toUpperCase());
    const title = (operation.summary ?? path).replace(/\.$/, "");
    const line = contentsLine(operation.operationId, [badge(), " ", title]);
    lines.push(line);
    const summary = [badge(), " ", make("code.path", {}, path), " ", make("span.title", {}, title)];
    const block = foldable(".operation", { id: operation.operationId, tabindex: "-1" }, summary, () =>
      operationView(one),
    );
    return entry([method, path, operation.operationId, title, name].join(" "), block, line);
  });
  contentsOf(name, id, lines);
  return make(
    "section.tag",
    {},
    make("h2", { id }, name),
    description ? make("p", {}, inline(description)) : "",
    blocks,
  );
}

function schemaSection(schemas) {
  const lines = [];
  const blocks = Object.keys(schemas)
    .sort()
    .map((name) => {
      const line = contentsLine(name, name);
      lines.push(line);
      const view = () => [...markdown(schemas[name].description), schemaView(schemas[name])];
      return entry(
        `schema ${name}`,
        foldable(".schema", { id: name, tabindex: "-1" }, make("code", {}, name), view),
        line,
      );
    });
  contentsOf("Schemas", "schemas", lines);
  return make("section.tag", {}, make("h2", { id: "schemas" }, "Schemas"), blocks);
}

/** Each error is a part of its own, which the `type` of a problem leads to. */
function errorSection(section) {
  const heading = section.firstElementChild;
  const made = make("section.tag", {});
  let part = made;
  const lines = [];
  for (const block of [...section.children]) {
    if (block.tagName === "H3") {
      const { id } = block;
      block.removeAttribute("id");
      lines.push(contentsLine(id, id));
      part = entry(`error ${id}`, make("article.error", { id, tabindex: "-1" }), lines.at(-1));
      made.append(part);
    }
    part.append(block);
  }
  contentsOf(heading.textContent, heading.id, lines);
  return made;
}

function show(api) {
  referTo(api);
  const schemas = api.components?.schemas ?? {};
  const tags = operationsByTag(api);
  const codes = [...api.info.description.matchAll(/^### (.+)$/gm)].map(([, code]) => code);
  const operations = tags.flatMap((tag) => tag.operations.map((one) => one.operation.operationId));
  for (const name of [...Object.keys(schemas), ...codes, ...operations]) anchors.add(name);
  const sections = sectionsOf(api.info.description);
  const errors = sections.filter((section) => section.querySelector(":scope > h2#errors"));
  const guide = sections.filter((section) => !errors.includes(section));
  const headings = guide.flatMap((section) => [...section.querySelectorAll("h2")]);
  contentsOf(
    "Guide",
    "top",
    headings.map((heading) => contentsLine(heading.id, heading.textContent)),
  );
  main.replaceChildren(
    make("h1", { id: "top" }, api.info.title, " ", make("small", {}, api.info.version)),
    ...guide,
    ...tags.map(tagSection),
    schemaSection(schemas),
    ...errors.map(errorSection),
  );
  document.body.append(accountDialog(api.components?.securitySchemes ?? {}, document.querySelector("#authorize")));
}

function narrow() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { text, element, line } of entries) {
    const isFound = words.every((word) => text.includes(word));
    element.hidden = line.hidden = !isFound;
    shown += isFound ? 1 : 0;
  }
  // What has nothing left in it goes, too, and so does the guide while one looks for something.
  const isShown = ({ element, line }, section) =>
    !element.hidden && (section.contains(element) || section.contains(line));
  for (const section of document.querySelectorAll("main > *, #contents > *")) {
    section.hidden = words.length > 0 && !entries.some((one) => isShown(one, section));
  }
  found.textContent = words.length > 0 ? `${shown} of ${entries.length}` : "";
}

/** Goes to what the address names, which may be folded up or filtered away. */
function land() {
  const id = location.hash.slice(1);
  const place = id && document.getElementById(id);
  document.querySelector(".landed")?.classList.remove("landed");
  if (!place) return;
  if (place.closest("[hidden]")) {
    filter.value = "";
    narrow();
  }
  if (place.matches("details")) unfold(place);
  place.classList.add("landed");
  place.scrollIntoView();
  place.focus({ preventScroll: true });
}

/** Whoever opens an operation has its address at hand. */
function follow(event) {
  const block = event.target.closest?.("summary")?.parentElement;
  if (block?.matches(".operation, .schema") && !block.open) history.replaceState(null, "", `#${block.id}`);
}

filter.addEventListener("input", narrow);
main.addEventListener("click", follow);
window.addEventListener("hashchange", land);
// A link to where one is already leads there again.
document.addEventListener("click", (event) => {
  const address = event.target.closest?.('a[href^="#"]')?.getAttribute("href");
  if (address && address === location.hash) land();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  filter.focus();
});

try {
  const answer = await fetch(addressOf("/openapi.json"));
  if (!answer.ok) throw new Error(`it was answered ${answer.status}`);
  show(await answer.json());
  narrow();
  land();
} catch (error) {
  main.replaceChildren(make("p", { role: "alert" }, `The OpenAPI document cannot be shown: ${error.message}`));
  throw error;
} finally {
  main.removeAttribute("aria-busy");
}
