// See live.sh, which calls this.

import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const { CHROMIUM, DIRECT, PROXY, TOKEN, NGINX_COMMAND, MODULES } = process.env;
const COMMENTS = 120;
// After how many comments nginx is stopped, and started again.
const CUTS = [30, 60, 90];

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const answer = await fetch(DIRECT + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

// The page, which has the packages of npm as they are.
const html = `<!doctype html><title>Inbox</title>
<script type="importmap">{ "imports": {
  "eventsource": "/modules/eventsource/dist/index.js", "eventsource-parser": "/modules/eventsource-parser/dist/index.js" } }</script>
<script type="module">
  import { EventSource } from "eventsource";
  const token = ${JSON.stringify(TOKEN)};
  window.told = { stream: [], feed: [], opened: 0 };
  const withToken = (url, init) =>
    fetch(url, { ...init, headers: { ...init?.headers, authorization: "Bearer " + token } });
  window.follow = (number) => {
    const stream = new EventSource(location.origin + "/v1/tickets/" + number + "/stream", { fetch: withToken });
    stream.addEventListener("open", () => (window.told.opened += 1));
    stream.addEventListener("comment.added", (event) => window.told.stream.push(JSON.parse(event.data).comment_id));
  };
  window.poll = async (number) => {
    let cursor;
    for (;;) {
      const query = cursor ? "&wait_s=30&cursor=" + cursor : "&from=start";
      try {
        const answer = await withToken("/v1/changes?types=comment.added&ticket_id=" + number + query);
        if (!answer.ok) throw new Error(answer.status);
        const page = await answer.json();
        for (const item of page.items) window.told.feed.push(item.comment_id);
        cursor = page.next_cursor;
      } catch {
        await new Promise((done) => setTimeout(done, 200));
      }
    }
  };
  window.ready = true;
</script>`;

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"] });
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => assert.fail(String(error)));
  await page.route("**/inbox.html", (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.route("**/modules/**", (route) => {
    const file = MODULES + new URL(route.request().url()).pathname.replace("/modules", "");
    return route.fulfill({ contentType: "text/javascript", body: readFileSync(file) });
  });
  await page.goto(`${PROXY}/inbox.html`);
  await page.waitForFunction(() => window.ready);
  const { number } = await ask("POST", "/v1/tickets", { subject: "Followed in a browser" });
  await page.evaluate((number) => {
    window.follow(number);
    void window.poll(number);
  }, number);
  await page.waitForFunction(() => window.told.opened > 0);

  const written = [];
  for (let nth = 0; nth < COMMENTS; nth += 1) {
    if (CUTS.includes(nth)) {
      execSync(`${NGINX_COMMAND} -s stop`, { stdio: "ignore" });
      written.push((await ask("POST", `/v1/tickets/${number}/comments`, { visibility: "public", body: "Nobody hears this." })).id);
      await pause(300);
      execSync(NGINX_COMMAND, { stdio: "ignore" });
    }
    written.push((await ask("POST", `/v1/tickets/${number}/comments`, { visibility: "public", body: `Number ${nth}` })).id);
  }
  await page.waitForFunction((count) => window.told.stream.length >= count && window.told.feed.length >= count, written.length, {
    timeout: 60_000,
  });
  await pause(500);
  const told = await page.evaluate(() => window.told);
  assert.deepEqual(told.stream, written, "the stream");
  assert.deepEqual(told.feed, written, "the feed");
  assert.ok(told.opened > 1, "it was cut off");
  console.log(`ok  ${written.length} comments, in a browser, through nginx that went away ${CUTS.length} times: none lost, none twice; the stream was opened ${told.opened} times`);
} finally {
  await browser.close();
}
