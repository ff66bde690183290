// What of a newer OpenAPI document breaks clients of an older one. Called by check.sh.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { apiCompare } from "api-smart-diff";
import { accepted } from "./accepted.mjs";

const [, , releasedPath, currentPath] = process.argv;
const read = (path) => JSON.parse(readFileSync(path, "utf8"));

// Limits that an answer keeps to; a client does not rely on them.
const limits = new Set(["pattern", "format", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"]);

/** Whether a difference breaks a client, by the rules of CONTRIBUTING.md. */
function breaks({ path, action, type }) {
  // Components count where they are used: only there it is known whether they are sent or received.
  if (path[0] !== "paths") return false;
  const at = path.indexOf("responses");
  // A field that a request may not have any more is an error: the schemas of requests are closed.
  if (at === -1) return type === "breaking" || (action === "remove" && path.at(-2) === "properties");
  const [, status, ...rest] = path.slice(at);
  // Of an answer that is described anew or no more, an error's is in the closed table of codes.
  if (rest.length === 0) return action === "remove" && !(status >= "400");
  // New words in a vocabulary are to be expected, lost ones hurt nobody who reads.
  if (rest.includes("enum") || limits.has(rest.at(-1))) return false;
  // The comparison takes another type in an answer for harmless.
  if (rest.at(-1) === "type" || rest.at(-2) === "type") return true;
  return type === "breaking";
}

/** The breaking differences, as lines. The comparison changes what it is given. */
function broken(before, after) {
  const { diffs } = apiCompare(structuredClone(before), structuredClone(after));
  return [...new Set(diffs.filter(breaks).map(({ path, action }) => `${action} ${path.join(" / ")}`))];
}

const released = read(releasedPath);

// The check is itself checked: it sees each kind of breach, and takes what is allowed.
function changed(change) {
  const document = structuredClone(released);
  change(document, document.components.schemas, document.paths["/v1/tickets"].get.parameters);
  return broken(released, document);
}
const without = (list, one) => list.filter((other) => other !== one);
const breaches = {
  "a field of an answer is removed": (_, s) => {
    delete s.Ticket.properties.subject;
    s.Ticket.required = without(s.Ticket.required, "subject");
  },
  "a field of an answer may be missing": (_, s) => (s.Ticket.required = without(s.Ticket.required, "subject")),
  "a field of an answer has another type": (_, s) => (s.Ticket.properties.number.type = "string"),
  "a field of an answer may be null": (_, s) => (s.Ticket.properties.subject.type = ["string", "null"]),
  "an operation is removed": (d) => delete d.paths["/v1/tickets/{id}"].patch,
  "a path is removed": (d) => delete d.paths["/v1/teams"],
  "an answer is removed": (d) => delete d.paths["/v1/tickets"].post.responses["201"],
  "a field is newly required in a request": (_, s) => s.NewTicket.required.push("description"),
  "a new field is required in a request": (_, s) => {
    s.NewTicket.properties.fresh = { type: "string" };
    s.NewTicket.required.push("fresh");
  },
  "a field of a request is removed": (_, s) => delete s.NewTicket.properties.tags,
  "a limit of a request is narrower": (_, s) => (s.NewTicket.properties.subject.maxLength = 10),
  "a word is taken from a vocabulary": (_, s) => (s.Priority.enum = without(s.Priority.enum, "urgent")),
  "a parameter is removed": (_, __, p) => p.splice(p.findIndex(({ name }) => name === "q"), 1),
  "a parameter is newly required": (_, __, p) => (p.find(({ name }) => name === "q").required = true),
};
const allowed = {
  "nothing changes": () => {},
  "an operation is new": (d) => (d.paths["/v1/fresh"] = { get: { ...d.paths["/v1/me"].get, operationId: "fresh" } }),
  "a field of an answer is new": (_, s) => {
    s.Ticket.properties.fresh = { type: "string" };
    s.Ticket.required.push("fresh");
  },
  "a field of a request is new": (_, s) => (s.NewTicket.properties.fresh = { type: "string" }),
  "a parameter is new": (_, __, p) => p.push({ name: "fresh", in: "query", required: false, schema: { type: "string" } }),
  "a word is new in a vocabulary": (_, s) => s.Priority.enum.push("critical"),
  "an error is new": (d) => (d.paths["/v1/me"].get.responses["418"] = d.paths["/v1/me"].get.responses["401"]),
  "a sentence is another one": (d, s) => {
    d.info.description = "";
    s.Ticket.properties.subject.description = "What it is about.";
  },
};
const wrong = [
  ...Object.keys(breaches).filter((name) => changed(breaches[name]).length === 0).map((name) => `not seen: ${name}`),
  ...Object.keys(allowed).flatMap((name) => changed(allowed[name]).map((line) => `refused though ${name}: ${line}`)),
];
if (wrong.length > 0) {
  console.error(`The check itself is broken.\n  ${wrong.join("\n  ")}`);
  process.exit(1);
}

const all = broken(released, read(currentPath));
const unused = accepted.filter(({ what }) => !all.some((line) => what.test(line)));
if (unused.length > 0) {
  console.error(`accepted.mjs names what is not found any more:\n  ${unused.map(({ why }) => why).join("\n  ")}`);
  process.exit(1);
}
const found = all.filter((line) => !accepted.some(({ what }) => what.test(line)));
if (found.length > 0) {
  console.error(`These break clients of ${basename(releasedPath)}:\n  ${found.join("\n  ")}
A breaking change needs a new major version of the API; see "Adding an endpoint" in CONTRIBUTING.md.`);
  process.exit(1);
}
const kinds = `${Object.keys(breaches).length} kinds of breaches were seen, ${Object.keys(allowed).length} of other changes let pass`;
console.log(`${basename(currentPath)} keeps all that ${basename(releasedPath)} promised (${kinds}).`);
