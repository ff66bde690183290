// Load for a server, by raw sockets, so that a client costs less than what it measures.
//
//   node tests/load/load.mjs mix URL TOKEN SECONDS     everything at once, by clients that stay, leave and break off
//   node tests/load/load.mjs flood URL TOKEN SECONDS   tickets: what can be done, ten times as much of it, and afterwards
//   node tests/load/load.mjs search URL TOKEN TICKETS  searches in a desk that is filled with so many tickets, and meanwhile
//   node tests/load/load.mjs comments URL TOKEN COUNT  the first comments on a ticket and the last of so many
//
// Prints one line of JSON. Ends with 1 when a server answers what it must not.

import net from "node:net";

const [mode, url, token, seconds] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const over = performance.now() + Number(seconds) * 1000;
const statuses = {};
const errors = {};
let sequence = 0;

const count = (table, name) => (table[name] = (table[name] ?? 0) + 1);
const chance = (n) => Math.floor(Math.random() * n);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function request(method, path, body, more = "") {
    const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    const type = typeof body === "string" ? "application/x-www-form-urlencoded" : "application/json";
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${token}\r\n${more}`;
    return body === undefined ? `${head}\r\n` : `${head}content-type: ${type}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

// One connection; one request at a time.
class Connection {
    open() {
        const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
        this.socket = socket;
        this.received = Buffer.alloc(0);
        socket.on("data", (chunk) => {
            if (this.socket !== socket) return;
            this.received = this.received.length ? Buffer.concat([this.received, chunk]) : chunk;
            this.look();
        });
        // One that was broken off or left may end when the next one is in use.
        const gone = (why) => {
            socket.destroy();
            if (this.socket !== socket) return;
            this.socket = undefined;
            const waiting = this.waiting;
            this.waiting = undefined;
            waiting?.({ status: 0, why });
        };
        socket.on("error", (error) => gone(error.code));
        socket.on("close", () => gone("closed"));
    }

    look() {
        const end = this.received.indexOf("\r\n\r\n");
        if (end < 0 || !this.waiting) return;
        const head = this.received.subarray(0, end).toString("latin1").toLowerCase();
        const length = Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0);
        if (this.received.length < end + 4 + length) return;
        const body = this.received.subarray(end + 4, end + 4 + length).toString();
        this.received = this.received.subarray(end + 4 + length);
        const waiting = this.waiting;
        this.waiting = undefined;
        if (/connection: close/.test(head)) this.leave();
        waiting({ status: Number(head.slice(9, 12)), body, head });
    }

    // The answer, with how long it took in milliseconds. A connection that was closed while nothing was asked is opened anew.
    async ask(text) {
        if (!this.socket) this.open();
        const begun = performance.now();
        const answer = await new Promise((done) => {
            this.waiting = done;
            this.socket.write(text);
        });
        return { ...answer, ms: performance.now() - begun };
    }

    // Asks, and does not wait for the answer.
    breakOff(text) {
        if (!this.socket) this.open();
        const socket = this.socket;
        this.socket.write(text.slice(0, 1 + chance(text.length)), () => socket.resetAndDestroy());
        this.socket = undefined;
    }

    leave() {
        const socket = this.socket;
        this.socket = undefined;
        socket?.removeAllListeners("close");
        socket?.end();
    }
}

const words = ["printer", "coffee", "network", "password", "screen", "invoice", "keyboard", "phone"];
const ticket = () => ({
    subject: `The ${words[chance(8)]} and the ${words[chance(8)]}`,
    description: "It does not work any more. ".repeat(1 + chance(40)),
    priority: ["low", "normal", "high", "urgent"][chance(4)],
    tags: [words[chance(8)]],
});

function anything() {
    const number = 1 + chance(Math.max(sequence, 1));
    const from = new Date(Date.now() - 86_400_000).toISOString();
    const to = new Date(Date.now() + 86_400_000).toISOString();
    switch (chance(16)) {
        case 0:
        case 1:
            sequence += 1;
            return request("POST", "/v1/tickets", ticket(), `idempotency-key: ${process.pid}-${sequence}\r\n`);
        case 2:
            return request("POST", `/v1/tickets/${number}/comments`, { visibility: "public", body: "Somebody is on the way." });
        case 3:
            return request("PATCH", `/v1/tickets/${number}`, { priority: "high" });
        case 4:
            return request("GET", `/v1/tickets?q=${words[chance(8)]}&limit=20`);
        case 5:
            return request("GET", `/v1/metrics/summary?from=${from}&to=${to}`);
        case 6:
            return request("GET", "/v1/metrics/backlog");
        case 7:
            return request("GET", "/metrics");
        case 8:
            return request("GET", "/v1/tickets?limit=50&sort=-updated_at");
        case 9:
            return request("GET", "/v1/me").replace(token, "nonsense");
        case 10:
            return chance(8) ? request("GET", "/v1/me") : request("POST", "/v1/auth/token", "grant_type=password&username=a%40b.c&password=wrong");
        default:
            return request("GET", `/v1/tickets/${number}`);
    }
}

// Each answer is one that a server may give under load; 401 is for the one that asks with nonsense.
const allowed = [200, 201, 401, 404, 409, 429, 503];

async function visitor() {
    const connection = new Connection();
    while (performance.now() < over) {
        const next = chance(20);
        if (next === 0) {
            connection.breakOff(anything());
            count(statuses, "broken off");
        } else {
            const { status, why } = await connection.ask(anything());
            if (status) count(statuses, status);
            else count(errors, why);
            if (next === 1) connection.leave();
        }
        await sleep(chance(40));
    }
    connection.leave();
}

async function mix() {
    await new Connection().ask(request("POST", "/v1/tickets", ticket()));
    await Promise.all(Array.from({ length: 32 }, visitor));
    console.log(JSON.stringify({ statuses, errors }));
    const bad = Object.keys(statuses).some((status) => Number(status) && !allowed.includes(Number(status)));
    // A connection may end between two requests, but not again and again.
    const lost = Object.values(errors).reduce((sum, n) => sum + n, 0);
    return bad || lost > Object.values(statuses).reduce((sum, n) => sum + n, 0) / 100 ? 1 : 0;
}

function summary(times) {
    times.sort((a, b) => a - b);
    const at = (q) => (times.length ? Math.round(times[Math.min(times.length - 1, Math.floor(times.length * q))] * 10) / 10 : null);
    return { count: times.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
}

// Tickets by `width` connections, begun at `rate` a second at most.
async function tickets(connections, rate, forMs) {
    const [created, refused, other] = [[], [], {}];
    const begun = performance.now();
    let begunSoFar = 0;
    const work = async (connection) => {
        while (performance.now() - begun < forMs) {
            const due = ((performance.now() - begun) / 1000) * rate;
            if (begunSoFar >= due) {
                await sleep(1);
                continue;
            }
            begunSoFar += 1;
            const { status, ms, why, head } = await connection.ask(request("POST", "/v1/tickets", ticket()));
            if (status === 201) created.push(ms);
            else if (status === 503 && /retry-after: \d/.test(head)) refused.push(ms);
            else count(other, status || why);
        }
    };
    await Promise.all(connections.map(work));
    const took = (performance.now() - begun) / 1000;
    const per = (n) => Math.round(n / took);
    return { asked_per_s: per(begunSoFar), created_per_s: per(created.length), created: summary(created), refused: summary(refused), other };
}

async function flood() {
    const forMs = (Number(seconds) * 1000) / 3;
    const some = Array.from({ length: 64 }, () => new Connection());
    await tickets(some, Infinity, forMs / 4);
    const capacity = await tickets(some, Infinity, forMs);
    const many = Array.from({ length: 4096 }, () => new Connection());
    const flooded = await tickets(many, capacity.created_per_s * 10, forMs);
    many.forEach((connection) => connection.leave());
    const after = await tickets(some.slice(0, 4), 50, forMs / 2);
    console.log(JSON.stringify({ capacity, flooded, after }));
    const wrong = [capacity, flooded, after].some((part) => Object.keys(part.other).length);
    // Some are refused, those who are not wait for no longer than the queue is, and afterwards nobody is refused.
    const fine = flooded.refused.count > 0 && flooded.created.count > 0 && after.refused.count === 0 && after.created.p99_ms < 1000;
    return wrong || !fine ? 1 : 0;
}

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

// One that has to be answered well; with its body.
async function must(connection, text) {
    const answer = await connection.ask(text);
    if (answer.status < 200 || answer.status > 299) throw new Error(`${answer.status || answer.why}: ${answer.body}`);
    return { ...answer, json: answer.body ? JSON.parse(answer.body) : undefined };
}

// What is asked, each with the most milliseconds of its median. Of the word there is one in every ticket, and so it is with the phrase; each
// filter leaves one in a hundred or fewer. What is nowhere has words that are everywhere: its page ends with a cursor.
const NOWHERE = "a phrase that is nowhere";
const searches = (known) => [
    ["a word of every ticket", "q=printer", 10],
    ["the same by relevance", "q=printer&sort=relevance", 10],
    ["the same by last change", "q=printer&sort=-updated_at", 20],
    ["and status", "q=printer&status=waiting_third_party", 20],
    ["and team", `q=printer&team_id=${known.team}`, 20],
    ["and assignee", `q=printer&assignee_id=${known.me}`, 20],
    ["and requester", `q=printer&requester_id=${known.requester}`, 20],
    ["and tag", "q=printer&tag=seldom", 20],
    ["a word of few tickets", "q=needle", 20],
    ["a frequent word and one of few", "q=printer+needle", 20],
    ["the same by relevance, the second page", `q=printer+needle&sort=relevance&limit=5&cursor=${known.cursor}`, 20],
    ["two frequent words", "q=coffee+network", 20],
    ["a phrase of every ticket", "q=%22a+printer%22", 10],
    ["a phrase of every ticket by relevance", "q=%22a+printer%22&sort=relevance", 20],
    ["a phrase of every ticket by last change", "q=%22a+printer%22&sort=-updated_at", 20],
    ["a phrase of every ticket and status", "q=%22a+printer%22&status=waiting_third_party", 20],
    ["a phrase of every ticket and tag", "q=%22a+printer%22&tag=seldom", 20],
    ["a phrase of one ticket in 64", "q=%22coffee+and+the+network%22", 10],
    ["a phrase of few tickets", "q=%22needle+thread%22", 20],
    ["a phrase with a beginning", "q=%22the+net%22*", 20],
    ["without a phrase", "q=printer+-%22and+the+network%22", 10],
    [NOWHERE, "q=%22and+a%22", 250],
    ["a beginning", "q=net*", 20],
    ["without a frequent word", "q=-coffee", 10],
    ["without a word of every ticket", "q=coffee+-printer", 250],
];

async function search() {
    const wanted = Number(seconds);
    const connections = Array.from({ length: 64 }, () => new Connection());
    const [asking] = connections;
    const me = (await must(asking, request("GET", "/v1/me"))).json.id;
    const team = (await must(asking, request("POST", "/v1/teams", { name: `Team ${process.pid}` }))).json.id;
    const person = { name: "Grace", email: `grace.${process.pid}@example.org`, role: "requester" };
    const requester = (await must(asking, request("POST", "/v1/users", person))).json.id;
    const known = { me, team, requester };
    let [begun, made] = [0, 0];
    const body = (n) => ({
        ...ticket(),
        subject: `A printer, the ${words[chance(8)]} and the ${words[chance(8)]}`,
        description: Array.from({ length: 25 }, () => `w${chance(1 + chance(5000))}`).join(" ") + (n % Math.ceil(wanted / 40) ? "" : " needle thread"),
        tags: n % 1000 === 1 ? ["seldom"] : [words[chance(8)]],
        ...(n % 200 === 2 && { team_id: team }),
        ...(n % 300 === 3 && { assignee_id: me }),
        ...(n % 400 === 4 && { requester_id: requester }),
    });
    const creates = [];
    const fill = async (connection) => {
        while (begun < wanted) {
            const n = (begun += 1);
            const { ms, json } = await must(connection, request("POST", "/v1/tickets", body(n)));
            creates.push(ms);
            if (n % 10 === 5) {
                const comment = { visibility: n % 20 ? "public" : "internal", body: `The ${words[chance(8)]} is on its way.` };
                await must(connection, request("POST", `/v1/tickets/${json.number}/comments`, comment));
            }
            if (n % 150 === 6) {
                for (const status of ["open", "waiting_third_party"]) {
                    await must(connection, request("PATCH", `/v1/tickets/${json.number}`, { status }));
                }
            }
            made += 1;
        }
    };
    const probe = new Connection();
    const measure = async (times) => {
        const rows = [];
        known.cursor = (await must(probe, request("GET", "/v1/tickets?q=printer+needle&sort=relevance&limit=5"))).json.next_cursor;
        for (const [title, query, most_ms] of searches(known)) {
            const taken = [];
            let found = 0;
            const enough = performance.now() + 5_000;
            for (let i = 0; i < times && performance.now() < enough; i++) {
                const { ms, json } = await must(probe, request("GET", `/v1/tickets?${query}`));
                taken.push(ms);
                found = json.items.length;
            }
            rows.push({ title, ...summary(taken), found, most_ms });
        }
        return rows;
    };
    const started = performance.now();
    const filling = Promise.all(connections.map(fill));
    while (made < wanted / 2) await sleep(100);
    const during = await measure(20);
    const tickets_during = made;
    await filling;
    const took = (performance.now() - started) / 1000;
    const at_once = await measure(100);
    await sleep(60_000);
    const later = await measure(300);
    console.log(JSON.stringify({ tickets: made, per_s: Math.round(made / took), creates: summary(creates), tickets_during, during, at_once, later }, null, 1));
    const none = [NOWHERE, "without a word of every ticket"];
    const slow = later.filter((row) => row.p50_ms > row.most_ms || row.p99_ms > Math.max(50, 2 * row.most_ms) || (row.found === 0) !== none.includes(row.title));
    slow.forEach((row) => console.error(`not as said: ${row.title}`));
    return slow.length ? 1 : 0;
}

async function comments() {
    const connection = new Connection();
    const { json } = await must(connection, request("POST", "/v1/tickets", ticket()));
    const taken = [];
    for (let n = 0; n < Number(seconds); n++) {
        const comment = { visibility: "public", body: `Comment ${n}. ${"It was looked at again. ".repeat(100)}` };
        taken.push((await must(connection, request("POST", `/v1/tickets/${json.number}/comments`, comment))).ms);
    }
    // The very first also fill caches.
    const [first, last] = [median(taken.slice(10, 60)), median(taken.slice(-50))];
    console.log(JSON.stringify({ comments: taken.length, first_ms: first, last_ms: last, ratio: last / first }));
    return last > 1.5 * first ? 1 : 0;
}

const code = await { mix, flood, search, comments }[mode]();
process.exit(code);
