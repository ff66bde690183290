// Load for a server, by raw sockets, so that a client costs less than what it measures.
//
//   node tests/load/load.mjs mix URL TOKEN SECONDS     everything at once, by clients that stay, leave and break off
//   node tests/load/load.mjs flood URL TOKEN SECONDS   tickets: what can be done, ten times as much of it, and afterwards
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

const code = await { mix, flood }[mode]();
process.exit(code);
