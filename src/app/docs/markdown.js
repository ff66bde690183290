// The part of CommonMark that the document is written in: headings, paragraphs, lists, tables, code, bold and links.

import { copyButton, make } from "./elements.js";

const INLINE = /`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)\s]+)\)/g;

/** What inline code leads to: the names of errors, schemas and operations. */
export const anchors = new Set();

/** The nodes of one paragraph. */
export function inline(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, bold, label, address] = found;
    nodes.push(text.slice(end, found.index));
    if (code !== undefined) nodes.push(codeLink(code));
    else if (bold !== undefined) nodes.push(make("strong", {}, inline(bold)));
    else nodes.push(link(label, address));
    end = found.index + whole.length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}

/** Code that leads to what it names, if that has a place on the page. */
export function codeLink(code) {
  const shown = make("code", {}, code);
  return anchors.has(code) ? make("a", { href: `#${code}` }, shown) : shown;
}

function link(label, address) {
  const isSafe = /^(https?:|mailto:|#|\.|\/)/.test(address);
  return isSafe ? make("a", { href: address, rel: "noreferrer" }, inline(label)) : label;
}

/** The name of a heading in addresses, as code forges make it. */
export function slug(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

/** The elements of a text. */
export function markdown(text = "") {
  const lines = text.split("\n");
  const blocks = [];
  const takeWhile = (test) => {
    const taken = [];
    while (lines.length > 0 && test(lines[0])) taken.push(lines.shift());
    return taken;
  };
  while (lines.length > 0) {
    const [line] = lines;
    const heading = /^(#{1,6}) (.*)$/.exec(line);
    const fence = /^```(\w*)/.exec(line);
    if (line.trim() === "") {
      lines.shift();
    } else if (heading) {
      lines.shift();
      blocks.push(make(`h${heading[1].length}`, { id: slug(heading[2]) }, inline(heading[2])));
    } else if (fence) {
      lines.shift();
      const code = takeWhile((next) => !next.startsWith("```")).join("\n");
      lines.shift();
      blocks.push(codeBlock(code));
    } else if (line.startsWith("|")) {
      blocks.push(table(takeWhile((next) => next.startsWith("|"))));
    } else if (/^\s*([-*]|\d+\.) /.test(line)) {
      blocks.push(list(takeWhile((next) => next.trim() !== "")));
    } else {
      const isText = (next) => next.trim() !== "" && !/^(#{1,6} |```|\|)/.test(next);
      blocks.push(make("p", {}, inline(takeWhile(isText).join(" "))));
    }
  }
  return blocks;
}

/** Code that can be copied. */
export function codeBlock(code) {
  return make(
    "div.code",
    {},
    make("pre", { tabindex: "0" }, make("code", {}, code)),
    copyButton(() => code),
  );
}

function table([head, , ...rows]) {
  const cells = (row) =>
    row
      .trim()
      .replace(/^\||\|$/g, "")
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll("\\|", "|"));
  const line = (row, kind) =>
    make(
      "tr",
      {},
      cells(row).map((cell) => make(kind, {}, inline(cell))),
    );
  const body = make(
    "tbody",
    {},
    rows.map((row) => line(row, "td")),
  );
  return make("div.wide", {}, make("table", {}, make("thead", {}, line(head, "th")), body));
}

function list(lines) {
  const items = [];
  for (const line of lines) {
    const begun = /^\s*(?:[-*]|\d+\.) (.*)$/.exec(line);
    if (begun) items.push(begun[1]);
    else items.push(`${items.pop() ?? ""} ${line.trim()}`);
  }
  return make(
    /^\s*\d/.test(lines[0]) ? "ol" : "ul",
    {},
    items.map((item) => make("li", {}, inline(item))),
  );
}
