"""recipes.py BASE_URL: runs what docs/changes.md and docs/webhooks.md show, as they show it, against a server.

TOKEN is that of an admin; the server must let webhooks reach 127.0.0.1. MODULES is a folder of npm with eventsource,
standardwebhooks and typescript, and this interpreter has standardwebhooks. Ends with 1 when something does not do what it is there for.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

BASE, TOKEN, MODULES = sys.argv[1].rstrip("/"), os.environ["TOKEN"], Path(os.environ["MODULES"])
DOCS = Path(__file__).resolve().parents[2] / "docs"
PATIENCE_S = 60
running = []


def ask(method, path, body=None):
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
    return json.loads(text) if text else None


def recipes(page, language):
    """The code blocks of a page, which lead to this server instead of the one that they are written for."""
    text = (DOCS / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no {language}"
    return [one.replace("http://127.0.0.1:8080", BASE) for one in found]


class Program:
    """A program that goes on, and what it prints."""

    def __init__(self, name, command, **environment):
        self.name, self.lines, self.news = name, [], threading.Condition()
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(self)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def says(self, *words):
        """Waits until it has printed a line that has these words."""
        has = lambda: any(all(word in line for word in words) for line in self.lines)
        with self.news:
            if not self.news.wait_for(has, PATIENCE_S):
                sys.exit(f"{self.name} does not say {words}:\n" + "\n".join(self.lines))
        print(f"  {self.name}: says {' '.join(words)}")

    def end(self):
        self.process.kill()
        self.process.wait()


def shell(scratch, code):
    desk = 'desk() { curl -sS --fail-with-body -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" "$@"; echo; }\n'
    return ["bash", "-euo", "pipefail", "-c", desk + code]


def script(scratch, name, code):
    file = scratch / name
    file.write_text(code)
    return str(file)


def javascript(code):
    """TypeScript without its types, as the compiler leaves it."""
    program = 'import ts from "typescript"; import fs from "node:fs"; process.stdout.write(ts.transpileModule(fs.readFileSync(0, "utf8"), ' \
        "{ compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } }).outputText)"
    done = subprocess.run(["node", "--input-type=module", "-e", program], input=code, cwd=MODULES, capture_output=True, text=True, check=True)
    return done.stdout


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def follow(scratch):
    number = str(ask("POST", "/v1/tickets", {"subject": "Grüße, 東京"})["number"])
    copy, live = recipes("changes.md", "sh")
    done = subprocess.Popen(shell(scratch, copy), stdout=subprocess.PIPE, text=True)
    ends = threading.Event()
    # Something happens now and then, so that whoever waits for it has something to tell.
    def write():
        while not ends.wait(0.2):
            ask("POST", f"/v1/tickets/{number}/comments", {"visibility": "public", "body": "Still on fire."})
    threading.Thread(target=write, daemon=True).start()
    out, _ = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0 and json.loads(out)["items"][0]["snapshot"]["subject"], out
    print("  the copy in the shell: has an item with its ticket")
    Program("the stream in the shell", shell(scratch, live)).says("event: comment.added")

    (python,) = recipes("changes.md", "python")
    Program("the feed in Python", [sys.executable, "-u", script(scratch, "feed.py", python)]).says("ticket.created", f"'number': {number},")
    poll, stream = recipes("changes.md", "typescript")
    Program("the feed in TypeScript", ["node", script(scratch, "feed.mjs", javascript(poll))]).says("comment.added", "Grüße, 東京")
    stream = javascript(stream).replace("/4711/", f"/{number}/")
    Program("the stream in TypeScript", ["node", script(scratch, "stream.mjs", stream)]).says("-")
    ends.set()


def webhooks(scratch):
    (create,) = recipes("webhooks.md", "sh")
    made = json.loads(subprocess.run(shell(scratch, create), stdout=subprocess.PIPE, text=True, check=True).stdout)
    ask("DELETE", f"/v1/webhooks/{made['id']}")
    (node,), (python,) = recipes("webhooks.md", "javascript"), recipes("webhooks.md", "python")
    hooks = []
    for name, command, file, code in [("Node", ["node"], "receiver.mjs", node), ("Python", [sys.executable, "-u"], "receiver.py", python)]:
        port = free_port()
        hook = ask("POST", "/v1/webhooks", {"name": "in " + name, "url": f"http://127.0.0.1:{port}/", "include_ticket": True})
        assert "9000" in code
        receiver = Program("the receiver in " + name, command + [script(scratch, file, code.replace("9000", str(port)))], SECRET=hook["secret"])
        deadline = time.monotonic() + PATIENCE_S
        while (test := ask("POST", f"/v1/webhooks/{hook['id']}/test"))["error"] == "connect" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert test["status"] in (200, 204), test
        hooks.append((hook, receiver))
    ticket = ask("POST", "/v1/tickets", {"subject": "Ünïcödé 🔥", "description": "ſ\u2028\"\\ " * 8_000})
    number = str(ticket["number"])
    ask("POST", f"/v1/tickets/{number}/comments", {"visibility": "internal", "body": "\u0001 é 漢字 " * 1_500})
    for hook, receiver in hooks:
        receiver.says("webhook.test")
        receiver.says("ticket.created", number)
        receiver.says("comment.added", number)
        # With both secrets, for a day.
        ask("POST", f"/v1/webhooks/{hook['id']}/secret")
        test = ask("POST", f"/v1/webhooks/{hook['id']}/test")
        assert test["status"] in (200, 204), test
        deadline = time.monotonic() + PATIENCE_S
        while ask("GET", f"/v1/webhooks/{hook['id']}/deliveries?state=pending")["items"] and time.monotonic() < deadline:
            time.sleep(0.1)
        states = [(one["state"], one["attempts"]) for one in ask("GET", f"/v1/webhooks/{hook['id']}/deliveries")["items"]]
        assert len(states) >= 2 and set(states) == {("delivered", 1)}, states
        ask("DELETE", f"/v1/webhooks/{hook['id']}")
    print("  both receivers: everything verified at its first attempt, also by the secret before")


# Where npm's packages are found.
with tempfile.TemporaryDirectory(dir=MODULES) as scratch:
    try:
        follow(Path(scratch))
        webhooks(Path(scratch))
    finally:
        for program in running:
            program.end()
