// See check.sh, which calls this.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

const { DOCS_BASE_URL, DOCS_TOKEN, DOCS_SCREENSHOT, DOCS_CHROMIUM } = process.env;
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/** The largest operation is opened in less than that: on a machine of today in some 20 ms. */
const OPEN_MS = 1000;

// The browser gets to know this machine by another name: on 127.0.0.1 and localhost, some things are let pass that are
// not elsewhere.
const base = new URL(DOCS_BASE_URL);
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
];
if (base.protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(base.hostname)) {
  flags.push(`--host-resolver-rules=MAP docs-check.test ${base.hostname}`);
  base.hostname = "docs-check.test";
}
const root = base.href.replace(/\/$/, "");

const told = (what) => console.log(`ok  ${what}`);

/** A request of this program's own, to the service as it was named. */
const ask = (path, init = {}) => fetch(`${DOCS_BASE_URL}${path}`, init);

async function asAdmin(path, body) {
  const headers = { authorization: `Bearer ${DOCS_TOKEN}`, "content-type": "application/json" };
  const answer = await ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 201, `POST ${path}: the token must be of an admin. ${await answer.clone().text()}`);
  return answer.json();
}

const operationsOf = (document) =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => ({ method, path, ...item[method] })),
  );

/** What is served is kept by those who have it: the page is asked for anew each time, its files never. */
async function checkFiles() {
  const page = await (await ask("/docs/")).text();
  const seen = new Set();
  const names = (text) => [...text.matchAll(/"\.\/([\w.-]+)"/g)].map(([, name]) => name);
  const waiting = names(page);
  while (waiting.length > 0) {
    const name = waiting.pop();
    if (seen.has(name)) continue;
    seen.add(name);
    const answer = await ask(`/docs/${name}`, { headers: { "accept-encoding": "gzip" } });
    assert.equal(answer.status, 200, name);
    assert.match(answer.headers.get("cache-control"), /max-age=31536000.*immutable/, name);
    waiting.push(...names(await answer.text()));
  }
  assert(seen.size > 5, "the page has files");
  for (const path of ["/docs/", "/openapi.json", ...[...seen].map((name) => `/docs/${name}`)]) {
    const first = await ask(path);
    const tag = first.headers.get("etag");
    assert.match(tag, /^"[\w-]+"$/, `${path} has a strong entity tag`);
    if (!path.endsWith("s")) assert.equal(first.headers.get("cache-control"), "no-cache", path);
    const again = await ask(path, { headers: { "if-none-match": tag } });
    assert.equal(again.status, 304, `${path} is not sent twice`);
    assert.equal(again.headers.get("etag"), tag, path);
  }
  told(`the page, ${seen.size} files and the document have entity tags, and are not sent twice`);
}

async function check(browser) {
  const context = await browser.newContext({ serviceWorkers: "block", viewport: { width: 1280, height: 1000 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);

  const strangers = new Set();
  const failures = [];
  await context.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.origin === base.origin) return route.continue();
    strangers.add(url.href);
    return route.abort();
  });
  page.on("websocket", (socket) => strangers.add(socket.url()));
  page.on("pageerror", (error) => failures.push(String(error)));
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    if (/content security policy/i.test(message.text())) failures.push(message.text());
    // Refusals are tried, too, and the browser tells of each.
    else if (!/^Failed to load resource/.test(message.text())) failures.push(message.text());
  });
  const isReady = () => page.locator("main:not([aria-busy]) h1").waitFor();
  const operation = (id) => page.locator(`details.operation#${id}`);
  const open = async (id) => {
    await operation(id).locator(":scope > summary").click();
    await operation(id).locator("form.try").waitFor();
    return operation(id);
  };

  try {
    const answer = await page.goto(`${root}/docs`);
    assert.equal(answer?.status(), 200, "GET /docs");
    await isReady();
    assert.equal(await page.title(), "Skranke API");
    assert.match(await page.locator("h1").innerText(), /^Skranke API \d+\.\d+\.\d+/);
    told(`renders: ${await page.locator("h1").innerText()}`);

    const document = await (await ask("/openapi.json")).json();
    const expected = operationsOf(document);
    const listed = await page.locator("details.operation").evaluateAll((blocks) => blocks.map((block) => block.id));
    assert.deepEqual(
      listed.sort(),
      expected.map((one) => one.operationId).sort(),
      "the operations are those of /openapi.json",
    );
    told(`lists all ${expected.length} operations of /openapi.json`);

    const places = await page.evaluate(() =>
      ["#first-steps", "#conventions", "details.operation", "#errors"].map(
        (what) => document.querySelector(what).getBoundingClientRect().top,
      ),
    );
    assert.deepEqual(
      places,
      [...places].sort((one, other) => one - other),
    );
    const ids = await page.evaluate(() => [...document.querySelectorAll("[id]")].map((one) => one.id));
    assert.equal(new Set(ids).size, ids.length, "each place has a name of its own");
    told("the guide comes first, then the operations, and errors last");

    const filter = page.getByRole("searchbox");
    await page.keyboard.press("/");
    await page.keyboard.type("timeline");
    const left = await page
      .locator("details.operation:visible")
      .evaluateAll((blocks) => blocks.map((block) => block.id));
    assert(left.includes("get_ticket_timeline") && left.length < 5, `timeline: ${left}`);
    assert.equal(
      await page.locator("nav li:visible").count(),
      await page.locator(":is(.operation, .schema, .error):visible").count(),
    );
    await filter.fill("no such thing");
    assert.equal(await page.locator("details.operation:visible").count(), 0);
    await filter.fill("");
    assert.equal(await page.locator("details.operation:visible").count(), expected.length);
    told(`the filter box narrows: "timeline" leaves ${left.length} operations`);

    const problem = await (await ask("/v1/tickets")).json();
    const codes = document.components.schemas.Problem.properties.code.enum;
    const landsAt = async (id) => {
      const place = page.locator(`[id="${id}"]`);
      await place.and(page.locator(".landed")).waitFor();
      const { top, bottom } = await place.evaluate((one) => one.getBoundingClientRect());
      assert(top >= 0 && top < 900 && bottom > 52, `${id} is in view: ${top} to ${bottom}`);
    };
    await page.goto("about:blank");
    await page.goto(new URL(problem.type, base).href);
    await isReady();
    await landsAt(problem.code);
    for (const code of codes) {
      await page.evaluate((hash) => (location.hash = hash), code);
      await landsAt(code);
      assert.match(await page.locator(`[id="${code}"]`).innerText(), new RegExp(code));
    }
    await filter.fill("timeline");
    for (const id of ["list_tickets", "Ticket"]) {
      await page.evaluate((hash) => (location.hash = hash), id);
      await landsAt(id);
      assert(await page.locator(`details#${id}[open]`).isVisible());
    }
    told(`the types of all ${codes.length} problems land on their sections, and operations and schemas on theirs`);

    const button = page.locator("#authorize");
    const status = page.locator("#account-status");
    await button.click();
    const byToken = page.locator("#by-bearer");
    await byToken.getByLabel("Token").fill("not a token");
    await byToken.getByRole("button").click();
    await status.getByText("The token is not taken").waitFor();
    await byToken.getByLabel("Token").fill(DOCS_TOKEN);
    await byToken.getByRole("button").click();
    await status.getByText("You are").waitFor();
    told(`takes the token: ${await status.innerText()}`);

    const name = `Docs check ${Date.now()}`;
    const password = "correct horse battery staple & more";
    const email = `docs-check-${Date.now()}@example.org`;
    await asAdmin("/v1/users", { name, email, role: "agent", password });
    const account = await asAdmin("/v1/service-accounts", {
      name: `${name}, a script`,
      scopes: ["tickets:read", "tickets:write"],
    });
    const byPassword = page.locator("#by-password");
    await byPassword.getByLabel("Email address").fill(email);
    await byPassword.getByLabel("Password").fill("wrong");
    await byPassword.getByRole("button").click();
    await status.getByText("not valid").waitFor();
    await byPassword.getByLabel("Password").fill(password);
    await byPassword.getByRole("button").click();
    await status.getByText(`You are ${name} (agent)`).waitFor();
    told("the password flow of OAuth 2 gets a token");
    const bySecret = page.locator("#by-clientCredentials");
    await bySecret.getByLabel("Client id").fill(account.id);
    await bySecret.getByLabel("Client secret").fill(account.secret);
    await bySecret.getByLabel("Scopes").fill("tickets:read");
    await bySecret.getByRole("button").click();
    await status.getByText("with the scopes tickets:read.").waitFor();
    told("the client credentials flow of OAuth 2 gets a token, with the scope that was asked for");
    await byToken.getByLabel("Token").fill(DOCS_TOKEN);
    await byToken.getByRole("button").click();
    await status.getByText("(admin)").waitFor();
    await page.locator("#close").click();

    const send = async (block, pathname) => {
      const [response] = await Promise.all([
        page.waitForResponse((response) => new URL(response.url()).pathname === pathname),
        block.getByRole("button", { name: "Send" }).click(),
      ]);
      await block.locator(".output .status strong", { hasText: String(response.status()) }).waitFor();
      return response;
    };
    const me = await open("get_me");
    assert.equal((await send(me, "/v1/me")).status(), 200);
    assert.match(await me.locator(".output pre").last().innerText(), /"role": "admin"/);
    told("GET /v1/me is answered 200");

    // It is open already: the address has led here.
    const list = operation("list_tickets");
    const filled = () =>
      list
        .locator("input, select, textarea")
        .evaluateAll((all) => all.filter((one) => one.value !== "").map((one) => one.name));
    assert.deepEqual(await filled(), [], "nothing is filled in");
    const tickets = await send(list, "/v1/tickets");
    assert.equal(tickets.status(), 200);
    assert.equal(new URL(tickets.url()).search, "");
    await list.locator('[name="query status"]').fill("new,open");
    assert.equal(new URL((await send(list, "/v1/tickets")).url()).search, "?status=new,open");
    told("GET /v1/tickets is sent as it is filled in: with nothing, and with one filter");

    const create = await open("create_ticket");
    const body = JSON.parse(await create.locator("textarea").inputValue());
    assert.deepEqual(Object.keys(body), document.components.schemas.NewTicket.required, "only what must be there");
    assert.deepEqual(await create.locator("input").evaluateAll((all) => all.filter((one) => one.value !== "")), []);
    assert.equal((await send(create, "/v1/tickets")).status(), 201);
    await create.locator("textarea").fill("{}");
    assert.equal((await send(create, "/v1/tickets")).status(), 422);
    told("POST /v1/tickets makes a ticket of what it cannot do without");

    const stream = await open("stream_changes");
    await stream.locator('[name="query from"]').selectOption("start");
    await stream.getByRole("button", { name: "Send" }).click();
    await stream.locator(".output pre", { hasText: "ticket.created" }).waitFor();
    await stream.getByRole("button", { name: "Stop" }).click();
    await stream.locator(".output", { hasText: "Stopped." }).waitFor();
    told("a stream is shown as it comes, and can be stopped");

    const largest = expected.reduce((one, other) =>
      JSON.stringify(other).length > JSON.stringify(one).length ? other : one,
    );
    const took = [];
    for (let nth = 0; nth < 3; nth += 1) {
      await page.goto("about:blank");
      await page.goto(`${root}/docs/`);
      await isReady();
      took.push(
        await page.evaluate(async (id) => {
          const block = document.getElementById(id);
          const begun = performance.now();
          block.querySelector("summary").click();
          while (!block.querySelector("form.try")) await new Promise((next) => setTimeout(next));
          await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
          return Math.round(performance.now() - begun);
        }, largest.operationId),
      );
    }
    assert(Math.min(...took) < OPEN_MS, `${largest.operationId} opens in ${took} ms`);
    told(`the largest operation, ${largest.operationId}, opens in ${Math.min(...took)} ms`);

    for (const one of expected) {
      await page.evaluate((hash) => (location.hash = hash), one.operationId);
      await page.locator(`details#${one.operationId}.landed > .answer`).first().waitFor();
    }
    // What is within the answers, too: schemas of schemas, some without an end.
    for (let depth = 1; depth <= 2; depth += 1) {
      await page.evaluate(() =>
        document.querySelectorAll("main details:not([open])").forEach((one) => (one.open = true)),
      );
      await page.waitForTimeout(200);
    }
    told("every operation, answer and schema opens");

    await page.setViewportSize({ width: 390, height: 800 });
    await page.goto(`${root}/docs/#list_tickets`);
    await page.reload();
    await isReady();
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(beyond <= 0, `on a small screen, the page is ${beyond} pixels too wide`);
    told("fits on a small screen");

    assert.deepEqual([...strangers], [], "no request leaves for another host");
    assert.deepEqual(failures, [], "no script of the page fails, and its policy is kept");
    told("asked no other host for anything, and kept its policy");
  } catch (error) {
    if (strangers.size > 0) console.log(`    other hosts were asked for: ${[...strangers].join(" ")}`);
    if (failures.length > 0) console.log(`    scripts failed: ${failures.join(" ")}`);
    throw error;
  } finally {
    if (DOCS_SCREENSHOT) {
      await page.setViewportSize({ width: 1280, height: 1000 });
      await page.screenshot({ path: DOCS_SCREENSHOT });
      console.log(`    screenshot: ${DOCS_SCREENSHOT}`);
    }
  }
}

const browser = await chromium.launch({ executablePath: DOCS_CHROMIUM, args: flags });
try {
  await checkFiles();
  await check(browser);
} catch (error) {
  // The library colours parts of its messages, terminal or not.
  console.error(`FAILED  ${error.message.replace(/\x1b\[[0-9;]*m/g, "")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
