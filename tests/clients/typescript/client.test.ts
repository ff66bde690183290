// What a frontend does in its first minutes, through types that are generated from the OpenAPI document: a field, a
// path or a status that the document does not have fails to compile, and what the server really does fails the test.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { EventSource } from "eventsource";
import createClient, { type Middleware } from "openapi-fetch";

import type { paths } from "./generated/skranke.js";

function setting(name: string): string {
  const value = process.env[name];
  assert.ok(value, `set ${name}, or call run.sh, which does`);
  return value;
}

const baseUrl = setting("SKRANKE_CLIENT_BASE_URL");
const email = setting("SKRANKE_CLIENT_EMAIL");
const password = setting("SKRANKE_CLIENT_PASSWORD");

// A word that no other run has used, so that this test can run twice against one server.
const run = randomUUID();

// Of a parameter that takes several values the document says `explode: false`: separated by commas.
const api = createClient<paths>({ baseUrl, querySerializer: { array: { style: "form", explode: false } } });

let accessToken = "";
const withToken: Middleware = {
  onRequest({ request }) {
    if (accessToken !== "") request.headers.set("Authorization", `Bearer ${accessToken}`);
    return request;
  },
};
api.use(withToken);

/** The body of an answer that must be a success. */
function good<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  assert.ok(
    answer.data !== undefined && answer.error === undefined,
    `${answer.response.url} answered ${answer.response.status}: ${JSON.stringify(answer.error)}`,
  );
  return answer.data;
}

/** The entity tag of an answer that must have one. */
function etagOf(response: Response): string {
  const etag = response.headers.get("ETag");
  assert.ok(etag, `${response.url} has no ETag`);
  return etag;
}

const form = { "Content-Type": "application/x-www-form-urlencoded" };

test("a day at the counter", async (day) => {
  let refreshToken = "";
  let ticketId = "";
  let ticketEtag = "";
  const tag = `umbrella-${run.slice(0, 8)}`;

  await day.test("without a token there is a problem that says so", async () => {
    const { data, error, response } = await api.GET("/v1/me");
    assert.equal(data, undefined);
    assert.equal(response.status, 401);
    assert.equal(error?.code, "unauthenticated");
    assert.ok(response.headers.get("WWW-Authenticate"));
  });

  await day.test("log in with a password", async () => {
    const answer = await api.POST("/v1/auth/token", {
      headers: form,
      body: { grant_type: "password", username: email, password },
    });
    const tokens = good(answer);
    assert.equal(tokens.token_type, "Bearer");
    assert.ok(tokens.expires_in > 0);
    assert.ok(tokens.refresh_token);
    assert.equal(answer.response.headers.get("Cache-Control"), "no-store");
    accessToken = tokens.access_token;
    refreshToken = tokens.refresh_token;

    const me = good(await api.GET("/v1/me"));
    assert.equal(me.email, email);
    assert.equal(me.role, "admin");
  });

  await day.test("report a problem", async () => {
    const answer = await api.POST("/v1/tickets", {
      params: { header: { "Idempotency-Key": randomUUID() } },
      body: {
        subject: "The umbrella stand is full",
        description: "Seven wet umbrellas, one stand.",
        type: "incident",
        priority: "high",
        channel: "web",
        tags: [tag],
        custom_fields: { floor: 3 },
      },
    });
    const ticket = good(answer);
    assert.equal(answer.response.status, 201);
    assert.equal(ticket.status, "new");
    assert.ok(ticket.number > 0);
    assert.deepEqual(ticket.tags, [tag]);
    assert.equal(ticket.started_at, null);
    assert.equal(answer.response.headers.get("Location"), `/v1/tickets/${ticket.id}`);
    ticketId = ticket.id;
    ticketEtag = etagOf(answer.response);
  });

  await day.test("report one twice with one key, and get the same answer", async () => {
    const key = randomUUID();
    const report = () =>
      api.POST("/v1/tickets", {
        params: { header: { "Idempotency-Key": key } },
        body: { subject: "The lamp flickers", tags: [tag] },
      });
    const first = await report();
    const second = await report();
    assert.deepEqual(good(second), good(first));
    assert.equal(first.response.headers.get("Idempotent-Replayed"), null);
    assert.equal(second.response.headers.get("Idempotent-Replayed"), "true");

    const other = await api.POST("/v1/tickets", {
      params: { header: { "Idempotency-Key": key } },
      body: { subject: "The lamp has stopped", tags: [tag] },
    });
    assert.equal(other.response.status, 422);
    assert.equal(other.error?.code, "idempotency_key_reused");
  });

  await day.test("list by a filter, page by page", async () => {
    const third = good(await api.POST("/v1/tickets", { body: { subject: "The door sticks", tags: [tag] } }));

    const seen: number[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const page = good(
        await api.GET("/v1/tickets", {
          params: {
            query: { tag: [tag], status: ["new", "open"], sort: "created_at", limit: 1, ...(cursor ? { cursor } : {}) },
          },
        }),
      );
      seen.push(...page.items.map((ticket) => ticket.number));
      cursor = page.next_cursor ?? undefined;
      pages += 1;
      assert.ok(pages <= 4, "the pages do not end");
    } while (cursor !== undefined);

    assert.equal(seen.length, 3);
    assert.deepEqual([...new Set(seen)], seen, "no ticket twice");
    assert.equal(seen.at(-1), third.number);
  });

  await day.test("a wrong filter is a problem that names it", async () => {
    const { error, response } = await api.GET("/v1/tickets", { params: { query: { cursor: "of another list" } } });
    assert.equal(response.status, 400);
    assert.equal(error?.code, "invalid_cursor");
  });

  await day.test("comment, which begins nothing yet when it is internal", async () => {
    const answer = await api.POST("/v1/tickets/{id}/comments", {
      params: { path: { id: ticketId } },
      body: { visibility: "internal", body: "The stand of the second floor is empty." },
    });
    assert.equal(answer.response.status, 201);
    const added = good(answer);
    assert.ok("visibility" in added, "without `ticket`, the answer is the comment");
    assert.equal(added.visibility, "internal");

    const comments = good(await api.GET("/v1/tickets/{id}/comments", { params: { path: { id: ticketId } } }));
    assert.deepEqual(
      comments.items.map((comment) => comment.body),
      ["The stand of the second floor is empty."],
    );
    assert.equal(comments.next_cursor, null);
  });

  await day.test("follow it, live and from cursor to cursor", async () => {
    type Change = { id: string; type: string; position: number | null; ticket: { version: number } | null };
    // As JSON, which it is unless lines are asked for.
    type Page = { items: Change[]; next_cursor: string };
    const start = good(await api.GET("/v1/changes", { params: { query: { ticket_id: ticketId } } })) as Page;
    assert.deepEqual(start.items, []);

    // The token goes in a header, never in an address.
    const stream = new EventSource(`${baseUrl}/v1/tickets/${ticketId}/stream`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${accessToken}` } }),
    });
    const told: Change[] = [];
    const isTold = new Promise<void>((resolve, reject) => {
      const take = (event: MessageEvent) => {
        told.push(JSON.parse(event.data) as Change);
        if (told.length === 2) resolve();
      };
      stream.addEventListener("ticket.updated", take);
      stream.addEventListener("comment.added", take);
      stream.addEventListener("error", (event) => reject(new Error(event.message)));
    });
    await new Promise((resolve) => stream.addEventListener("open", resolve, { once: true }));
    good(
      await api.POST("/v1/tickets/{id}/comments", {
        params: { path: { id: ticketId } },
        body: { visibility: "internal", body: "It smells of ozone." },
      }),
    );
    good(
      await api.PATCH("/v1/tickets/{id}", {
        params: { path: { id: ticketId } },
        headers: { "Content-Type": "application/merge-patch+json" },
        body: { tags: ["fire", "ozone"] },
      }),
    );
    await isTold;
    stream.close();

    let query = { ticket_id: ticketId, cursor: start.next_cursor, wait_s: 10 };
    const read: Change[] = [];
    while (read.length < 2) {
      const page = good(await api.GET("/v1/changes", { params: { query } })) as Page;
      read.push(...page.items);
      query = { ...query, cursor: page.next_cursor };
    }
    assert.deepEqual(told, read);
    assert.deepEqual(read.map((change) => change.type), ["comment.added", "ticket.updated"]);
  });

  await day.test("reply and change in one write", async () => {
    const answer = await api.POST("/v1/tickets/{id}/comments", {
      params: { path: { id: ticketId } },
      body: { visibility: "internal", body: "Somebody looks after it.", ticket: { assignee_id: "me" } },
    });
    const both = good(answer);
    assert.ok("ticket" in both);
    assert.equal(both.ticket.assignee?.name, good(await api.GET("/v1/me")).name);
    // It is a problem of her own.
    assert.equal(both.comment.author.kind, "requester");
    const page = good(
      await api.GET("/v1/tickets/{id}", { params: { path: { id: ticketId }, query: { include: ["comments", "sla"] } } }),
    );
    assert.equal(page.comments?.items[0]?.body, "Somebody looks after it.");
    assert.deepEqual(page.sla?.clocks, []);
    const mine = { assignee_id: "me", status: "unsolved" };
    const { counts } = good(await api.POST("/v1/tickets/counts", { body: { filters: { mine } } }));
    assert.deepEqual(counts["mine"], { count: 1, exact: true });
  });

  await day.test("resolve it, if nobody changed it meanwhile", async () => {
    const resolve = (etag: string) =>
      api.PATCH("/v1/tickets/{id}", {
        params: { path: { id: ticketId }, header: { "If-Match": etag } },
        headers: { "Content-Type": "application/merge-patch+json" },
        body: { status: "resolved" },
      });

    const read = await api.GET("/v1/tickets/{id}", { params: { path: { id: ticketId } } });
    good(read);
    ticketEtag = etagOf(read.response);
    const answer = await resolve(ticketEtag);
    const ticket = good(answer);
    assert.ok(ticket, "a token that may read is shown the ticket");
    assert.equal(ticket.status, "resolved");
    assert.ok(ticket.resolved_at);
    assert.equal(ticket.started_at, ticket.resolved_at);
    assert.notEqual(etagOf(answer.response), ticketEtag);

    const late = await resolve(ticketEtag);
    assert.equal(late.response.status, 412);
    assert.equal(late.error?.code, "version_mismatch");
  });

  await day.test("a field that the type forbids is refused by the server too, with its place", async () => {
    const { error, response } = await api.POST("/v1/tickets", {
      body: {
        subject: "",
        // @ts-expect-error: a priority is one of four words.
        priority: "yesterday",
      },
    });
    assert.equal(response.status, 422);
    assert.equal(error?.code, "validation_failed");
    assert.deepEqual(error?.errors?.map((field) => field.pointer).sort(), ["/priority", "/subject"]);
  });

  await day.test("what is not there is a problem with a code", async () => {
    const { data, error, response } = await api.GET("/v1/tickets/{id}", { params: { path: { id: randomUUID() } } });
    assert.equal(data, undefined);
    assert.equal(response.status, 404);
    assert.equal(response.headers.get("Content-Type"), "application/problem+json");
    assert.equal(error?.code, "not_found");
    assert.equal(error?.status, 404);
    assert.equal(error?.request_id, response.headers.get("X-Request-Id"));
  });

  await day.test("the refresh token gives new tokens, once", async () => {
    const refresh = (token: string) =>
      api.POST("/v1/auth/token", { headers: form, body: { grant_type: "refresh_token", refresh_token: token } });

    const tokens = good(await refresh(refreshToken));
    assert.ok(tokens.refresh_token);
    assert.notEqual(tokens.refresh_token, refreshToken);
    accessToken = tokens.access_token;
    assert.equal(good(await api.GET("/v1/me")).email, email);

    // Used twice, it was stolen or copied: nothing of its family is good any more.
    assert.equal((await refresh(refreshToken)).response.ok, false);
    assert.equal((await refresh(tokens.refresh_token)).response.ok, false);
  });
});
