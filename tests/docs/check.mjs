// See check.sh, which calls this. Written against Swagger UI 5.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

const { DOCS_BASE_URL, DOCS_TOKEN, DOCS_SCREENSHOT, DOCS_CHROMIUM } = process.env;
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

// Swagger UI is on its best behaviour on 127.0.0.1 and localhost: only under another name does it ask a validator on
// the internet for a badge. So the browser gets to know this machine by another name.
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

const told = (what) => console.log(`ok  ${what}`);

/** Every operation of an OpenAPI document: as often as a page lists it, which is once for each of its tags. */
function operationsOf(document) {
  return Object.entries(document.paths)
    .flatMap(([path, item]) =>
      METHODS.filter((method) => method in item).flatMap((method) =>
        Array(Math.max(1, item[method].tags?.length ?? 1)).fill(`${method} ${path}`),
      ),
    )
    .sort();
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
    if (message.type() === "error") console.log(`    the page says: ${message.text()}`);
  });

  try {
    const answer = await page.goto(`${base.href.replace(/\/$/, "")}/docs`);
    assert.equal(answer?.status(), 200, "GET /docs");
    await page.locator(".swagger-ui .information-container .title").first().waitFor();
    told(`renders: ${(await page.locator(".information-container .title").first().innerText()).replaceAll("\n", " ")}`);

    const document = await page.evaluate(async () => (await fetch("/openapi.json")).json());
    const expected = operationsOf(document);
    // Tags that are shut do not list their operations.
    const shut = page.locator(".opblock-tag-section:not(.is-open) > .opblock-tag");
    for (let left = await shut.count(); left > 0; left -= 1) await shut.first().click();
    // Should they never all come, the comparison below says which ones are missing.
    await page.locator(".opblock").nth(expected.length - 1).waitFor({ timeout: 5_000 }).catch(() => {});
    const listed = await page.locator(".opblock").evaluateAll((blocks) =>
      blocks
        .map((block) => {
          const method = block.querySelector(".opblock-summary-method").textContent.toLowerCase();
          const path = block.querySelector(".opblock-summary-path, .opblock-summary-path__deprecated").dataset.path;
          return `${method} ${path}`;
        })
        .sort(),
    );
    assert.deepEqual(listed, expected, "the operations on the page are those of /openapi.json");
    told(`lists all ${expected.length} operations of /openapi.json`);

    await page.locator(".auth-wrapper .btn.authorize").click();
    const dialog = page.locator(".modal-ux");
    const field = dialog.locator("#auth-bearer-value").first();
    await field.fill(DOCS_TOKEN);
    await field.locator("xpath=ancestor::form[1]").locator("button.authorize").click();
    await dialog.locator("button", { hasText: "Logout" }).first().waitFor();
    await dialog.locator(".btn-done").first().click();
    told("takes the token in the Authorize dialog");

    const me = page.locator('.opblock-get:has([data-path="/v1/me"])').first();
    await me.locator(".opblock-summary-control").click();
    await me.locator(".try-out__btn").waitFor();
    // A page may be set up so that every operation can be tried at once; the button then says "Cancel".
    if ((await me.locator(".btn.execute").count()) === 0) await me.locator(".try-out__btn").click();
    const [response] = await Promise.all([
      page.waitForResponse((response) => new URL(response.url()).pathname === "/v1/me"),
      me.locator(".btn.execute").click(),
    ]);
    assert.equal(response.status(), 200, "GET /v1/me by Try it out");
    const shown = me.locator(".live-responses-table tbody .response-col_status").first();
    await shown.waitFor();
    assert.match(await shown.innerText(), /^\s*200\b/, "the page shows the status");
    await shown.scrollIntoViewIfNeeded();
    told("Try it out on GET /v1/me gets a 200");

    assert.deepEqual([...strangers], [], "no request leaves for another host");
    assert.deepEqual(failures, [], "no script of the page fails");
    told("asked no other host for anything");
  } catch (error) {
    if (strangers.size > 0) console.log(`    other hosts were asked for: ${[...strangers].join(" ")}`);
    if (failures.length > 0) console.log(`    scripts failed: ${failures.join(" ")}`);
    throw error;
  } finally {
    if (DOCS_SCREENSHOT) {
      // The command line that the page offers for copying has the token in it.
      await page.screenshot({ path: DOCS_SCREENSHOT, mask: [page.locator(".curl-command")], maskColor: "#888" });
      console.log(`    screenshot: ${DOCS_SCREENSHOT}`);
    }
  }
}

const browser = await chromium.launch({ executablePath: DOCS_CHROMIUM, args: flags });
try {
  await check(browser);
} catch (error) {
  // The library colours parts of its messages, terminal or not.
  console.error(`FAILED  ${error.message.replace(/\x1b\[[0-9;]*m/g, "")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
