// See browser.sh, which calls this.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { CHROMIUM, URL: DESK, TOKEN, MODULES } = process.env;
const { chromium } = createRequire(`${MODULES}/`)("playwright-core");

// Whatever runs calls here.
const calls = [];
const trap = createServer((request, answer) => {
  calls.push(request.url);
  answer.setHeader("access-control-allow-origin", "*");
  answer.end();
});
await new Promise((listening) => trap.listen(0, "127.0.0.1", listening));
const home = `http://127.0.0.1:${trap.address().port}`;

const script = (name) => `fetch("${home}/${name}?" + document.domain); document.title = "ran"; try { parent.postMessage("ran", "*"); opener?.postMessage("ran", "*") } catch {}`;
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const pdf = `%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/URI/URI(${home}/pdf)>>>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
trailer<</Root 1 0 R>>`;
const FILES = {
  "a.html": ["text/html", `<!doctype html><title>quiet</title><script>${script("html")}</script><img src="${home}/img">`],
  "a.svg": ["image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload='${script("svg")}'><script>${script("svg2")}</script></svg>`],
  "a.xhtml": ["application/xhtml+xml", `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>${script("xhtml")}</script></html>`],
  "a.pdf": ["application/pdf", pdf],
  "text.html": ["text/html", `A text, and then <script>${script("text")}</script>`],
  "picture.html": ["text/html", Buffer.concat([png, Buffer.from(`<script>${script("picture")}</script>`)])],
  "a.js": ["text/javascript", script("js")],
  "a.png": ["image/png", png],
};

async function ask(path, headers, body) {
  const answer = await fetch(DESK + path, { method: "POST", headers: { authorization: `Bearer ${TOKEN}`, ...headers }, body });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

const links = {};
for (const [name, [type, body]] of Object.entries(FILES)) {
  const headers = { "content-type": type, "content-disposition": `attachment; filename*=UTF-8''${name}` };
  const file = await ask("/v1/files", headers, body);
  const link = await ask(`/v1/files/${file.id}/link`, { "content-type": "application/json" }, JSON.stringify({ inline: true }));
  links[name] = DESK + link.url;
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ acceptDownloads: true });
  const saved = [];
  for (const [name, link] of Object.entries(links)) {
    const page = await context.newPage();
    page.on("download", (download) => saved.push(download.suggestedFilename()));
    // Opened by itself: shown, or saved, which ends the navigation.
    await page.goto(link).catch((error) => assert.match(String(error), /download|ERR_ABORTED/i));
    await page.waitForTimeout(300);
    assert.notEqual(await page.title(), "ran", name);
    await page.close();
  }
  // Within a page of the service's own origin, in every way that runs things.
  const page = await context.newPage();
  await page.goto(`${DESK}/health/live`);
  const shown = await page.evaluate(async (links) => {
    const ran = [];
    window.addEventListener("message", (event) => ran.push(event.data));
    const add = (tag, attribute, url) =>
      new Promise((done) => {
        const element = document.createElement(tag);
        element.onload = () => done(true);
        element.onerror = () => done(false);
        element[attribute] = url;
        document.body.append(element);
        setTimeout(() => done(false), 1000);
      });
    const isShown = {};
    for (const [name, link] of Object.entries(links)) {
      await add("iframe", "src", link);
      await add("object", "data", link);
      await add("embed", "src", link);
      await add("script", "src", link);
      isShown[name] = await add("img", "src", link);
    }
    return { ran, isShown, title: document.title };
  }, links);
  await page.waitForTimeout(500);
  assert.deepEqual(shown.ran, []);
  assert.notEqual(shown.title, "ran");
  assert.ok(shown.isShown["a.png"], "the picture is shown");
  assert.ok(!shown.isShown["a.svg"], "the SVG is not");
  assert.deepEqual(calls, [], "nothing has called home");
  for (const name of ["a.html", "a.svg", "a.xhtml", "a.pdf"]) assert.ok(saved.includes(name), `${name} is saved: ${saved}`);
  console.log(`${browser.version()}: of ${Object.keys(FILES).length} files none has run; the picture is shown, and saved were ${saved.length}`);
} finally {
  await browser.close();
  trap.close();
}
