"""Machines that have trouble by script, and a witness of what Prometheus says of it.

machines.py SEED PORT

GET /metrics          what Prometheus scrapes: one series for each of four kinds of trouble of each of five machines
POST /phase/NAME      calm: only those that always have trouble have it; flapping: most come and go; frozen: as they are now;
                      chosen: half of them
POST /api/v2/alerts   for Prometheus, which takes this for a third Alertmanager
GET /firings          every firing that Prometheus has told of: [{labels, startsAt, endsAt}], without an end while it lasts
"""

import datetime
import http.server
import json
import random
import sys
import threading
import time

KINDS = ["disk", "service", "queue", "certificate"]
seed, port = sys.argv[1], int(sys.argv[2])
series = [(kind, f"m{nth}") for kind in KINDS for nth in range(1, 6)]
always, never = {(kind, "m1") for kind in KINDS}, {(kind, "m5") for kind in KINDS[:2]}
lock = threading.Lock()
firings = {}


def flaps(one):
    """When it changes, in seconds: trouble first."""
    dice, at = random.Random(f"{seed} {one}"), 0.0
    at = dice.uniform(0, 6)
    while True:
        yield at
        at += dice.uniform(4, 11)
        yield at
        at += dice.uniform(3, 9)


class Phase:
    def __init__(self, name, before=None):
        self.name, self.began = name, time.monotonic()
        self.fixed = before.trouble() if name == "frozen" else set(always)
        if name == "chosen":
            self.fixed |= set(random.Random(f"{seed} chosen").sample([one for one in series if one not in always], 8))
        self.changes = {one: flaps(one) for one in series}
        self.next = {one: next(self.changes[one]) for one in series}
        self.now = set()

    def trouble(self):
        if self.name != "flapping":
            return set(self.fixed)
        for one in series:
            while self.next[one] <= time.monotonic() - self.began:
                self.now ^= {one}
                self.next[one] = next(self.changes[one])
        return (self.now | always) - never


phase = Phase("calm")


def instant(text):
    """Whole seconds are enough to tell the past from the future; Prometheus writes nanoseconds."""
    return datetime.datetime.fromisoformat(text[:19] + "+00:00").timestamp()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind="application/json", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            if self.path == "/metrics":
                trouble = phase.trouble()
                lines = [f'machine_trouble{{kind="{one[0]}",machine="{one[1]}"}} {int(one in trouble)}\n' for one in series]
                return self.answer("".join(lines).encode(), "text/plain; version=0.0.4")
            if self.path == "/firings":
                return self.answer(json.dumps(list(firings.values())).encode())
        self.answer(b"{}", status=404)

    def do_POST(self):
        global phase
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            if self.path.startswith("/phase/"):
                phase = Phase(self.path[len("/phase/"):], phase)
            else:
                for alert in json.loads(body):
                    one = firings.setdefault(json.dumps([alert["labels"], alert["startsAt"]], sort_keys=True), {
                        "labels": alert["labels"], "startsAt": alert["startsAt"], "endsAt": None})
                    # While it fires this is how long it can be believed.
                    if instant(alert["endsAt"]) <= time.time():
                        one["endsAt"] = alert["endsAt"]
        self.answer(b"{}")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
