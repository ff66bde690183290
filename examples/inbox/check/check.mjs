// See check.sh, which calls this.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

// The provider warns of being what it is for here.
console.warn = console.info = () => {};
const { startProvider } = await import("./provider.mjs");

const { CHROMIUM, ADMIN, PAGE, VITE_ISSUER: ISSUER, SKRANKE_URL: DESK, SCREENSHOTS, SKRANKE_TEST_WRITE } = process.env;
const HOME = fileURLToPath(new URL("..", import.meta.url));
const README = `${HOME}README.md`;
const SECRET = "Between us: she has a second printer.";
const HOSTILE = 'Look: <img src=x onerror="window.hacked=1"> [here](javascript:window.hacked=1) ![spy](http://spy.example/a.png)';

const told = (what) => console.log(`ok  ${what}`);

async function ask(method, path, body, token = ADMIN) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(DESK + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

// ---------------------------------------------------------------------------------------------------------------------
// Whoever stands between the page and the service, and can go away.

let front;
async function startFront() {
  const vite = `${HOME}node_modules/vite/bin/vite.js`;
  front = spawn(process.execPath, [vite, "preview", "--host", "127.0.0.1", "--port", new URL(PAGE).port, "--strictPort"], {
    cwd: HOME,
    stdio: ["ignore", "ignore", "inherit"],
  });
  for (;;) {
    assert.equal(front.exitCode, null, "vite preview ended");
    if (await fetch(PAGE).then((answer) => answer.ok, () => false)) return;
    await new Promise((done) => setTimeout(done, 50));
  }
}
process.on("exit", () => front?.kill("SIGKILL"));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

async function stopFront() {
  const ended = new Promise((done) => front.once("exit", done));
  front.kill("SIGKILL");
  await ended;
}

// ---------------------------------------------------------------------------------------------------------------------
// People at their screens.

/** What a request of the API is, without what differs each time. */
const nameOf = (request) =>
  `${request.method()} ${new URL(request.url()).pathname.replace(/[0-9a-f-]{36}|(?<=\/tickets\/)\d+|(?<=file-links\/).*/g, "…")}`;

async function person(browser, email) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 900 } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: PAGE });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const one = { context, page, asked: [], pending: new Set(), bodies: [], email };
  page.on("pageerror", (error) => {
    console.error(`${email}: ${error.stack}`);
    process.exitCode = 1;
  });
  page.on("console", (message) => {
    if (/content security policy/i.test(message.text())) strangers.push(message.text());
  });
  context.on("request", (request) => {
    const { origin, pathname } = new URL(request.url());
    const isOurs = request.frame().url().startsWith(PAGE) && /^https?:/.test(request.url());
    if (isOurs && ![PAGE, ISSUER].includes(origin)) strangers.push(request.url());
    if (origin !== PAGE || !/^\/(v1|file-links)\//.test(pathname)) return;
    one.asked.push(nameOf(request));
    if (!pathname.endsWith("/stream")) one.pending.add(request);
  });
  for (const end of ["requestfinished", "requestfailed"]) context.on(end, (request) => one.pending.delete(request));
  // The provider's own pages would have fonts from elsewhere.
  await context.route((url) => ![PAGE, ISSUER].includes(url.origin) && /^http/.test(url.protocol), (route) => route.abort());
  context.on("response", async (answer) => {
    if (/json/.test(answer.headers()["content-type"] ?? "")) one.bodies.push(await answer.text().catch(() => ""));
  });
  return one;
}

/** A login at the provider, as its pages ask for it; and its consent. */
async function logIn({ page, email }) {
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL(`${ISSUER}/interaction/**`);
  await page.locator("[name=login]").fill(email);
  await page.locator("[name=password]").fill("any");
  await page.locator("[type=submit]").click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.locator("[data-live]").waitFor();
}

/** All that has been asked for by now has gone out, and is answered and shown. */
async function settled({ page, pending }) {
  do await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  while (pending.size > 0);
}

const table = [];
/** Where pages of ours have led that they should not. */
const strangers = [];
/** Does `work`, and keeps what each of them has asked for until it was done: `[what, person]...`. */
async function measure(whose, work) {
  for (const [, one] of whose) {
    await settled(one);
    one.asked.length = 0;
  }
  await work();
  for (const [what, one] of whose) {
    await settled(one);
    const { asked } = one;
    const times = new Map();
    for (const name of [...asked].sort()) times.set(name, (times.get(name) ?? 0) + 1);
    const which = [...times].map(([name, count]) => `\`${name}\`${count > 1 ? ` × ${count}` : ""}`);
    table.push([what, asked.length, which.join(", ")]);
    console.log(`    ${what}: ${asked.length}`);
  }
}

/** A screenshot in the clipboard, and the keys that paste it. */
async function paste(page) {
  await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(320, 200);
    const pen = canvas.getContext("2d");
    for (let nth = 0; nth < 40; nth += 1) {
      pen.fillStyle = `hsl(${Math.random() * 360} 60% 50%)`;
      pen.fillRect(Math.random() * 300, Math.random() * 180, 40, 30);
    }
    await navigator.clipboard.write([new ClipboardItem({ "image/png": await canvas.convertToBlob({ type: "image/png" }) })]);
  });
  await page.getByLabel("Text").focus();
  await page.keyboard.press("Control+V");
}

const seen = (page, selector) =>
  page.waitForFunction((selector) => [...document.querySelectorAll(selector)].some((img) => img.naturalWidth > 0), selector);
const comment = (page, text) => page.locator(".comment", { hasText: text });
const write = (page, text) => page.getByLabel("Text").fill(text);
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const trouble = (page, code) => page.locator(`.trouble[data-code=${code}]`).waitFor();
const live = (page, is = "true") => page.locator(`[data-live=${is}]`).waitFor();
async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
}

async function check(browser) {
  await ask("POST", "/v1/sla/policies", { name: "All", targets: [{ target: "response", target_s: 3600, hours: "calendar" }] });
  const [ada, nora] = [await person(browser, "ada@example.org"), await person(browser, "nora@example.org")];

  await ada.page.goto(PAGE);
  await logIn(ada);
  await ada.page.getByText("Nothing here.").waitFor();
  told("a customer logs in by PKCE, and the service takes the provider's token");

  await ada.page.getByText("report a problem").click();
  await ada.page.getByLabel("Subject").fill("The printer is on fire");
  await write(ada.page, "It *smokes*.");
  await measure([["customer: a screenshot is pasted", ada]], async () => {
    await paste(ada.page);
    await seen(ada.page, ".writer img");
    await ada.page.getByText("Leave it out").waitFor();
  });
  await measure([["customer: the problem is reported, and its ticket opens", ada]], async () => {
    await press(ada.page, "Report");
    await ada.page.locator("h1").waitFor();
  });
  const number = Number(new URL(ada.page.url()).hash.split("/").pop());

  await nora.page.goto(PAGE);
  await logIn(nora);
  await nora.page.locator("[data-badge=unassigned]", { hasText: "1" }).waitFor();
  await measure([["agent: the page is opened anew, with the list and its badges", nora]], async () => {
    await nora.page.reload();
    await nora.page.locator("[data-badge=unassigned]", { hasText: "1" }).waitFor();
    await live(nora.page);
  });
  await measure([["agent: another list", nora]], async () => {
    await nora.page.getByText("unassigned").click();
    await nora.page.getByText("The printer is on fire").waitFor();
  });
  await picture(nora.page, "list");
  await measure([["agent: a ticket that was reported with a screenshot opens", nora]], async () => {
    await nora.page.getByText("The printer is on fire").click();
    await seen(nora.page, ".timeline img");
  });
  await nora.page.getByText("response due in").waitFor();
  await measure([["agent: takes it", nora], ["customer: sees that, live", ada]], async () => {
    await press(nora.page, "Assign to me");
    await nora.page.locator(".event", { hasText: "assignee from none to Nora" }).waitFor();
    await ada.page.getByText("with Nora").waitFor();
  });

  await nora.page.getByRole("checkbox").check();
  await write(nora.page, SECRET);
  await measure([["agent: an internal note", nora]], async () => {
    await press(nora.page, "Reply");
    await comment(nora.page, SECRET).waitFor();
  });
  await write(nora.page, "Is it *this* one?");
  await measure([["agent: a screenshot is pasted", nora]], async () => {
    await paste(nora.page);
    await nora.page.getByText("Leave it out").waitFor();
  });
  await measure([["agent: replies with it, and resolves", nora], ["customer: sees the reply, live", ada]], async () => {
    await press(nora.page, "Reply and resolve");
    await nora.page.locator(".event", { hasText: "to resolved" }).waitFor();
    await seen(nora.page, ".comment img");
    await comment(ada.page, "Is it this one?").waitFor();
    await seen(ada.page, ".comment img");
    await ada.page.locator("[data-status=resolved]").waitFor();
  });
  await write(ada.page, HOSTILE);
  await measure([["customer: answers", ada], ["agent: sees the answer, live", nora]], async () => {
    await press(ada.page, "Reply");
    await comment(ada.page, "Look:").waitFor();
    await ada.page.locator("[data-status=open]").waitFor();
    await comment(nora.page, "Look:").waitFor();
    await nora.page.locator("[data-status=open]").waitFor();
  });
  assert.equal(await nora.page.evaluate(() => window.hacked), undefined);
  assert.equal(await comment(nora.page, "Look:").locator("img, a[href^=javascript]").count(), 0);
  await picture(nora.page, "ticket");
  await picture(ada.page, "portal");
  told("an agent and a customer see live what the other does, with screenshots; what looks like HTML is text");

  await measure([["agent: back to the list and its badges", nora]], async () => {
    await nora.page.getByText("Inbox").click();
    await nora.page.locator("[data-badge=mine]", { hasText: "1" }).waitFor();
    await nora.page.getByText("The printer is on fire").waitFor();
  });
  await measure([["agent: something happens while the list is shown", nora]], async () => {
    await ask("POST", "/v1/tickets", { subject: "The lamp flickers" });
    await nora.page.locator("[data-badge=unassigned]", { hasText: "1" }).waitFor();
  });
  const quiet = (await ask("POST", "/v1/tickets", { subject: "The door sticks" })).number;
  await nora.page.locator("[data-badge=unassigned]", { hasText: "2" }).waitFor();
  await measure([["agent: a ticket opens", nora]], async () => {
    await nora.page.goto(`${PAGE}/#/tickets/${quiet}`);
    await nora.page.getByRole("heading", { name: "The door sticks" }).waitFor();
  });
  for (let nth = 1; nth <= 60; nth += 1) {
    await ask("POST", `/v1/tickets/${quiet}/comments`, { body: `Number ${nth}.`, visibility: nth % 2 ? "public" : "internal" });
    await ask("POST", "/v1/tickets", { subject: `Another ${nth}` });
  }
  await nora.page.reload();
  await comment(nora.page, "Number 60.").waitFor();
  const written = () => nora.page.locator(".comment").count();
  assert.equal(await written(), 50);
  await measure([["agent: all that came before in a long ticket", nora]], async () => {
    await press(nora.page, "All that came before");
    await comment(nora.page, /Number 1\./).waitFor();
  });
  assert.equal(await written(), 60);
  await nora.page.goto(`${PAGE}/#/unsolved`);
  await nora.page.locator(".rows li").nth(49).waitFor();
  await measure([["agent: more of a long list", nora]], async () => {
    await press(nora.page, "More");
    await nora.page.locator(".rows li").nth(62).waitFor();
  });
  told("long tickets and long lists are shown a page at a time, and to their ends");
  await measure([["customer: the list", ada]], async () => {
    await ada.page.getByText("Your tickets").click();
    await ada.page.locator(".rows li").waitFor();
  });
  assert.equal(await ada.page.locator(".rows li").count(), 1, "a customer sees no tickets of others");

  await nora.page.goto(`${PAGE}/#/tickets/${number}`);
  await ada.page.goto(`${PAGE}/#/tickets/${number}`);
  await comment(ada.page, "Look:").waitFor();
  const token = await troubles(ada, nora, number);

  const log = JSON.stringify(await ask("GET", "/v1/changes?from=start&limit=1000", undefined, token));
  const heard = [...ada.bodies, await ada.page.content(), log].join("\n");
  assert.ok(heard.includes("It *smokes*") && !heard.includes(SECRET) && !heard.includes("internal"), "an internal note is internal");
  assert.deepEqual(strangers, []);
  told("nothing internal reaches the customer, and no page asks anything of another host");
}

/** What comes between, and what is seen of it. */
async function troubles(ada, nora, number) {
  const { page } = nora;
  const comments = `${PAGE}/v1/tickets/*/comments`;
  const token = await ada.page.evaluate(() =>
    JSON.parse(Object.entries(sessionStorage).find(([name]) => name.startsWith("oidc.user"))[1]).access_token);
  const texts = async () => (await ask("GET", `/v1/tickets/${number}/comments`)).items.map(({ body }) => body);

  // The customer writes while the agent's reply is on its way.
  await page.route(comments, async (route) => {
    await ask("POST", `/v1/tickets/${number}/comments`, { body: "It has stopped.", visibility: "public" }, token);
    await route.continue();
  }, { times: 1 });
  await write(page, "Somebody is on the way.");
  await press(page, "Reply");
  await trouble(page, "version_mismatch");
  await comment(page, "It has stopped.").waitFor();
  assert.equal(await page.getByLabel("Text").inputValue(), "Somebody is on the way.");
  assert.ok(!(await texts()).includes("Somebody is on the way."));
  await picture(page, "late");
  await page.reload();
  await comment(page, "It has stopped.").waitFor();
  assert.equal(await page.getByLabel("Text").inputValue(), "Somebody is on the way.", "also after a reload");
  await press(page, "Reply");
  await comment(page, "Somebody is on the way.").waitFor();
  const { items } = await ask("GET", `/v1/tickets/${number}/comments`);
  const { id } = items.find(({ body }) => body === "It has stopped.");
  await ask("PATCH", `/v1/tickets/${number}/comments/${id}`, { body: "It has stopped, for now." }, token);
  await comment(page, "It has stopped, for now.").waitFor();
  told("a reply to what was answered meanwhile is a 412, shows the answer, and keeps the draft");

  // It was carried out, and its answer is lost.
  await page.route(comments, async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await write(page, "The lost one.");
  const again = page.waitForResponse((answer) => answer.headers()["idempotent-replayed"] === "true");
  await press(page, "Reply");
  await again;
  await comment(page, "The lost one.").waitFor();
  assert.equal((await texts()).filter((text) => text === "The lost one.").length, 1);
  told("a reply whose answer was lost is sent again, and is there once");

  await page.route(comments, (route) => route.fulfill({ status: 503, headers: { "Retry-After": "60" }, body: "" }), { times: 1 });
  await write(page, "The busy one.");
  await press(page, "Reply");
  await trouble(page, "unavailable");
  await press(page, "Reply");
  await comment(page, "The busy one.").waitFor();
  await page.route(comments, (route) => route.fulfill({ status: 429, headers: { "Retry-After": "1" }, body: "" }), { times: 1 });
  await write(page, "The hasty one.");
  await press(page, "Reply");
  await comment(page, "The hasty one.").waitFor();
  told("503 and 429 are waited for as long as Retry-After says, if that is short, and told if not");

  await page.route(`${PAGE}/v1/files`, (route) => route.abort(), { times: 3 });
  await write(page, "With a picture.");
  await paste(page);
  await trouble(page, "no_answer");
  assert.ok(await page.getByRole("button", { name: "Reply", exact: true }).isDisabled());
  await press(page, "Try again");
  await seen(page, ".writer img");
  await press(page, "Reply");
  await comment(page, "With a picture.").locator("img").waitFor();
  told("an upload that failed is told and tried again");

  // The one in front goes away, and something happens meanwhile.
  await stopFront();
  await live(page, "false");
  await ask("POST", `/v1/tickets/${number}/comments`, { body: "Nobody hears this.", visibility: "public" }, token);
  await startFront();
  await comment(page, "Nobody hears this.").waitFor();
  await comment(ada.page, "Nobody hears this.").waitFor();
  await live(page);
  told("a stream that breaks goes on where it was");

  const hide = (is) => page.evaluate((is) => {
    Object.defineProperty(document, "hidden", { configurable: true, value: is });
    document.dispatchEvent(new Event("visibilitychange"));
  }, is);
  await hide(true);
  await live(page, "false");
  await ask("POST", `/v1/tickets/${number}/comments`, { body: "Nobody looks.", visibility: "public" }, token);
  await hide(false);
  await comment(page, "Nobody looks.").waitFor();
  told("a page that nobody looks at has no stream, and misses nothing");

  // A token that is about to expire, and one that is not good any more, with and without a refresh token.
  const spoil = (part) => page.evaluate((part) => {
    const name = Object.keys(sessionStorage).find((name) => name.startsWith("oidc.user"));
    sessionStorage.setItem(name, JSON.stringify({ ...JSON.parse(sessionStorage.getItem(name)), ...part }));
  }, part);
  for (const [part, text] of [[{ expires_at: Math.floor(Date.now() / 1000) + 5 }, "Renewed in time."], [{ access_token: "x" }, "Renewed late."]]) {
    await spoil(part);
    await write(page, text);
    const renewal = page.waitForRequest((request) => request.postData()?.includes("grant_type=refresh_token") ?? false);
    await press(page, "Reply");
    await renewal;
    await comment(page, text).waitFor();
  }
  await spoil({ access_token: "x", refresh_token: "x" });
  await write(page, "Written before the login ended.");
  await press(page, "Reply");
  await trouble(page, "unauthenticated");
  await picture(page, "ended");
  await press(page, "Log in");
  await page.waitForURL(`${PAGE}/**`);
  await comment(page, "Renewed late.").waitFor();
  assert.equal(await page.getByLabel("Text").inputValue(), "Written before the login ended.");
  await press(page, "Reply");
  await comment(page, "Written before the login ended.").waitFor();
  told("a login is renewed; where it ends, one logs in again and goes on with what one has written");

  await press(page, "Log out");
  await page.getByRole("button", { name: /sign|log|yes/i }).first().click();
  await page.waitForURL(`${PAGE}/**`);
  await page.getByLabel("Token").fill(ADMIN);
  await press(page, "Use it");
  await page.locator("[data-badge=unsolved]").waitFor();
  told("one logs out at the provider, and comes in with a token of `skranke token`");
  return token;
}

/** The table of README, between its marks. */
function compare() {
  const lines = table.map(([what, count, which]) => `| ${what} | ${count} | ${which} |`);
  const made = ["| what is done | requests | which |", "|---|---|---|", ...lines].join("\n");
  const marks = /(<!-- requests: .* -->\n)([^]*?)(\n<!-- end -->)/;
  const readme = readFileSync(README, "utf8");
  const [, , written] = marks.exec(readme) ?? assert.fail("README.md has no table");
  if (SKRANKE_TEST_WRITE === "1") return writeFileSync(README, readme.replace(marks, (_, begin, __, end) => begin + made + end));
  assert.equal(made, written, "README.md says something else; SKRANKE_TEST_WRITE=1 writes it anew");
  told(`the requests of each of ${table.length} screens are those that README.md says`);
}

const provider = await startProvider(ISSUER, PAGE);
await startFront();
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"] });
try {
  await check(browser);
  compare();
} catch (error) {
  for (const context of browser.contexts()) {
    for (const page of context.pages()) console.error(`--- ${page.url()}\n${await page.locator("body").innerText().catch(String)}`);
  }
  throw error;
} finally {
  await browser.close();
  await stopFront();
  provider.closeAllConnections?.();
  provider.close();
}
