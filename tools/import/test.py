#!/usr/bin/env python3
"""Converts the fixtures, compares with what is expected, and checks every line against the rules of the import.

python3 test.py; with SKRANKE_TEST_WRITE=1 what is expected is written anew.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"
KIB = 1024
NEXT = {
    "new": {"open", "resolved"},
    "open": {"waiting_requester", "waiting_third_party", "resolved"},
    "waiting_requester": {"open", "waiting_third_party", "resolved"},
    "waiting_third_party": {"open", "waiting_requester", "resolved"},
    "resolved": {"open", "closed"},
    "closed": set(),
}
WORDS = {
    "status": set(NEXT),
    "channel": {"api", "web", "email", "phone", "chat", "counter", "monitoring"},
    "type": {"incident", "service_request", "question", "problem"},
    "priority": {"low", "normal", "high", "urgent"},
    "role": {"requester", "agent", "admin"},
    "visibility": {"public", "internal"},
}
FIELDS = {"priority", "type", "channel", "team", "assignee", "requester", "tags", "subject", "description", "custom_fields"}
HEAD = FIELDS | {"external_id", "number", "reported_at", "created_by", "timeline"}
ENTRY = FIELDS | {"at", "actor", "status", "comment", "work_s", "note"}


def is_line(text, most):
    """Whether it is one line of 1 to `most` characters, not blank, without control characters."""
    return isinstance(text, str) and 0 < len(text) <= most and text.strip() != "" and not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


class Rules:
    """The rules of the import, kept from the first line to the last."""

    def __init__(self):
        self.people, self.staff, self.tickets, self.numbers = set(), set(), set(), set()

    def check(self, raw):
        """Fails with what is wrong with a line."""
        assert len(raw) <= 4 * KIB * KIB, "a line is too long"
        line = json.loads(raw.decode("utf-8"))
        assert len(line) == 1 and line.keys() <= {"person", "ticket"}, line.keys()
        if "person" in line:
            self.person(line["person"])
        else:
            self.ticket(line["ticket"])

    def person(self, person):
        assert not self.tickets, "people come first"
        assert person.keys() <= {"email", "external_id", "name", "role", "active"}, person
        self.reference({key: person[key] for key in ("email", "external_id") if key in person})
        assert is_line(person["name"], 200), person
        assert person.get("role", "requester") in WORDS["role"] and person.get("active", True) in (True, False), person
        key = person.get("external_id")
        assert key not in self.people, f"{key} is there twice"
        self.people.add(key)
        if person.get("role") in ("agent", "admin"):
            self.staff.add(key)

    def reference(self, person):
        assert person.keys() <= {"email", "external_id", "name"} and person.keys() & {"email", "external_id"}, person
        if "email" in person:
            user, _, host = person["email"].partition("@")
            assert user and host and "@" not in host and host == host.strip(".") and len(person["email"]) <= 254, person
            assert not any(c.isspace() for c in person["email"]), person
        if "external_id" in person:
            assert is_line(person["external_id"], 255), person
        if "name" in person:
            assert is_line(person["name"], 200), person

    def fields(self, has):
        for name in ("priority", "type", "channel", "status"):
            if name in has:
                assert has[name] in WORDS[name], has
        if "subject" in has:
            assert is_line(has["subject"], 255), has
        if "description" in has:
            assert isinstance(has["description"], str) and len(has["description"].encode()) <= 64 * KIB and "\0" not in has["description"]
        if "tags" in has:
            assert len(has["tags"]) <= 20 and len(set(has["tags"])) == len(has["tags"]), has
            assert all(is_line(tag, 64) and "," not in tag and not tag.startswith("!") for tag in has["tags"]), has
        if "custom_fields" in has:
            assert isinstance(has["custom_fields"], dict) and len(json.dumps(has["custom_fields"], ensure_ascii=False).encode()) <= 16 * KIB
        if has.get("team") is not None:
            assert is_line(has["team"], 100), has
        for name in ("requester", "assignee", "created_by", "actor"):
            if has.get(name) is not None:
                self.reference(has[name])
        if has.get("assignee"):
            assert has["assignee"].get("external_id") in self.staff, f"an assignee is no agent: {has['assignee']}"

    def instant(self, text):
        at = datetime.fromisoformat(text)
        assert text.endswith("Z") and at <= datetime.now(timezone.utc), text
        return at

    def ticket(self, ticket):
        assert ticket.keys() <= HEAD and {"external_id", "subject", "reported_at", "timeline"} <= ticket.keys(), ticket.keys()
        assert is_line(ticket["external_id"], 255) and ticket["external_id"] not in self.tickets, ticket["external_id"]
        self.tickets.add(ticket["external_id"])
        if "number" in ticket:
            assert type(ticket["number"]) is int and ticket["number"] > 0 and ticket["number"] not in self.numbers, ticket["number"]
            self.numbers.add(ticket["number"])
        assert None not in ticket.values(), ticket
        self.fields(ticket)
        assert len(ticket["timeline"]) <= 5_000
        before, stands = self.instant(ticket["reported_at"]), "new"
        for entry in ticket["timeline"]:
            assert entry.keys() <= ENTRY and entry.keys() - {"at", "actor"}, entry
            assert before <= (before := self.instant(entry["at"])), f"instants go backwards: {entry}"
            assert stands != "closed", f"something happens to a closed ticket: {entry}"
            self.fields(entry)
            empty = {name for name in entry if entry[name] is None}
            assert empty <= {"team", "assignee", "requester"}, entry
            if "status" in entry:
                is_step = entry["status"] in NEXT[stands]
                assert is_step or (entry["status"] == stands and "comment" in entry), f"{stands} becomes {entry['status']}: {entry}"
                stands = entry["status"]
            if "comment" in entry:
                comment = entry["comment"]
                assert comment.keys() == {"visibility", "body"} and comment["visibility"] in WORDS["visibility"], comment
                assert comment["body"].strip() and len(comment["body"].encode()) <= 64 * KIB and "\0" not in comment["body"]
            if "work_s" in entry:
                assert type(entry["work_s"]) is int and 1 <= entry["work_s"] <= 604_800, entry
                assert entry["actor"]["external_id"] in self.staff, f"who worked is no agent: {entry}"
            assert len(entry.get("note", "").encode()) <= 4_000


def convert(program, folder, *options):
    """Runs a converter."""
    return subprocess.run([sys.executable, "-B", HERE / program, folder, *options], capture_output=True, timeout=120)


def told(run):
    """The tickets of a run, by number, after all rules were kept."""
    assert run.returncode == 0, run.stderr.decode()
    rules = Rules()
    for raw in run.stdout.splitlines():
        rules.check(raw)
    lines = [json.loads(raw) for raw in run.stdout.splitlines()]
    return {line["ticket"]["number"]: line["ticket"] for line in lines if "ticket" in line}


def values(ticket, name):
    """What a field was, from the opening on."""
    return [ticket.get(name), *(entry[name] for entry in ticket["timeline"] if name in entry)]


def statuses(ticket):
    """Where a ticket stood after it was new. What was said says where it stood, too, which is no step."""
    stood = [entry["status"] for entry in ticket["timeline"] if "status" in entry]
    return [status for nth, status in enumerate(stood) if status != (stood[nth - 1] if nth else "new")]


ZENDESK = ("zendesk.py", FIXTURES / "zendesk", "--time-field", "360002")
ZAMMAD = ("zammad.py", FIXTURES / "zammad", "--state", "waiting for the vendor=waiting_third_party", "--field", "asset", "--time-unit-s", "60")


class Fixtures(unittest.TestCase):
    maxDiff = None

    def is_as_expected(self, expected, run):
        if os.environ.get("SKRANKE_TEST_WRITE") == "1":
            expected.write_bytes(run.stdout)
        self.assertEqual(expected.read_text(), run.stdout.decode())

    def test_zendesk(self):
        run = convert(*ZENDESK)
        tickets = told(run)
        self.is_as_expected(FIXTURES / "zendesk.ndjson", run)
        self.assertEqual(run.stdout, convert(*ZENDESK).stdout, "it is the same each time")
        self.assertEqual(sorted(tickets), [1001, 1002, 1003, 1004, 1005, 1006, 1007])
        reopened = ["open", "waiting_requester", "open", "resolved", "open", "resolved", "closed"]
        self.assertEqual(statuses(tickets[1001]), reopened)
        self.assertEqual(values(tickets[1001], "priority"), ["normal", "urgent"])
        self.assertEqual(statuses(tickets[1002]), ["resolved", "closed"])
        self.assertEqual(values(tickets[1004], "team"), ["First line", "Second line"])
        self.assertIn("hunter2", run.stdout.decode())
        secret = [e["comment"] for e in tickets[1004]["timeline"] if "hunter2" in e.get("comment", {}).get("body", "")]
        self.assertEqual([comment["visibility"] for comment in secret], ["internal"])
        self.assertNotIn("description", tickets[1007])
        self.assertEqual(values(tickets[1006], "priority"), ["low", "high"])
        self.assertIn("what happened does not lead to what is now", run.stderr.decode())

    def test_zammad(self):
        run = convert(*ZAMMAD)
        tickets = told(run)
        self.is_as_expected(FIXTURES / "zammad.ndjson", run)
        self.assertEqual(run.stdout, convert(*ZAMMAD).stdout, "it is the same each time")
        self.assertEqual(sorted(tickets), [48001, 48002, 48003, 48004, 48005, 48006])
        self.assertEqual(statuses(tickets[48001]), ["open", "resolved", "open", "resolved", "closed"])
        self.assertEqual(tickets[48002]["description"], "The crane squeaks!")
        self.assertNotIn("Which one?", json.dumps(tickets[48001]))
        self.assertEqual(statuses(tickets[48004]), ["open", "waiting_third_party", "open", "waiting_requester"])
        self.assertEqual(values(tickets[48004], "priority"), ["normal", "urgent"])
        self.assertEqual(tickets[48004]["subject"], "Crane 5 leaks")
        self.assertEqual(statuses(tickets[48006]), ["resolved", "closed"])

    def test_zammad_without_options(self):
        run = convert(*ZAMMAD[:2])
        self.assertEqual(statuses(told(run)[48004]), ["open", "waiting_requester", "open", "waiting_requester"])
        self.assertIn("time accounting is left out", run.stderr.decode())

    def test_numbers_anew(self):
        for program, folder, *_ in (ZENDESK, ZAMMAD):
            self.assertNotIn(b'"number"', convert(program, folder, "--no-numbers").stdout)


class Limits(unittest.TestCase):
    """One Zendesk ticket that is too much."""

    def run_with(self, comments=(), **ticket):
        at = "2023-01-01T00:00:00Z"
        person = {"id": 2, "name": "Ada\u0007 " + "a" * 300, "email": "no address", "role": "end-user"}
        agent = {"id": 3, "name": "", "email": None, "role": "agent", "active": True}
        ticket = {"id": 1, "created_at": at, "updated_at": at, "status": "new", "requester_id": 2, "submitter_id": 2} | ticket
        first = {"id": 9, "type": "Comment", "author_id": 2, "body": "First", "public": True}
        audits = [{"id": 1, "ticket_id": 1, "created_at": at, "author_id": 2, "events": [first]}]
        for nth, body in enumerate(comments):
            event = {"id": 10 + nth, "type": "Comment", "author_id": 3, "plain_body": body, "public": True}
            audits.append({"id": 2 + nth, "ticket_id": 1, "created_at": "2023-01-02T00:00:00Z", "author_id": 3, "events": [event]})
        with tempfile.TemporaryDirectory() as folder:
            for name, items in [("users", [person, agent]), ("tickets", [ticket]), ("audits", audits)]:
                (Path(folder) / f"{name}.json").write_text(json.dumps({name: items}))
            run = convert("zendesk.py", folder)
        return told(run)[1], run.stderr.decode()

    def test_texts(self):
        ticket, warnings = self.run_with(["ø" * 40_000, " \n ", "half of an emoji: \ud83d, and \0"], subject="s" * 300, tags=["!a,b", "c" * 70, ""])
        self.assertEqual(ticket["subject"], "s" * 254 + "…")
        self.assertEqual(ticket["tags"], ["a b", "c" * 63 + "…"])
        bodies = [entry["comment"]["body"] for entry in ticket["timeline"]]
        self.assertEqual([len(bodies), bodies[1]], [2, "half of an emoji: ?, and"])
        self.assertTrue(64 * KIB - 8 < len(bodies[0].encode()) <= 64 * KIB)
        for part in ("a comment of ticket 1 is cut", "subject of ticket 1 is cut", "name of user 2 is cut", "the address of user 2"):
            self.assertIn(part, warnings)

    def test_a_line_that_is_too_long(self):
        ticket, warnings = self.run_with(["x" * 60_000] * 200)
        self.assertEqual(len(ticket["timeline"]), 200)
        self.assertIn("too long for a line", warnings)

    def test_too_many_entries(self):
        ticket, warnings = self.run_with([f"Comment {nth}" for nth in range(5_100)], status="closed")
        self.assertEqual([len(ticket["timeline"]), statuses(ticket)], [5_000, ["resolved", "closed"]])
        self.assertIn("102 entries are left out", warnings)

    def test_nothing_but_the_ticket(self):
        ticket, _ = self.run_with(subject=None, custom_fields=[{"id": 5, "value": "x" * 20_000}], assignee_id=None, via=None)
        self.assertEqual([ticket["subject"], ticket["description"]], ["(no subject)", "First"])
        self.assertNotIn("custom_fields", ticket)


class Unreadable(unittest.TestCase):
    def fails(self, program, says, **contents):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in contents.items():
                (Path(folder) / f"{name}.json").write_text(text)
            run = convert(program, folder)
        said = run.stderr.decode()
        self.assertEqual(run.returncode, 1, said)
        self.assertIn(says, said)
        self.assertNotIn("Traceback", said)

    def test_sentences(self):
        user = '{"users": [{"id": 1, "name": "A"}]}'
        for program in ("zendesk.py", "zammad.py"):
            self.assertIn("is not a folder", convert(program, "/nowhere").stderr.decode())
            self.fails(program, "has no users")
            self.fails(program, "cannot be read as JSON", users="{")
        self.fails("zendesk.py", "has no tickets", users=user)
        self.fails("zendesk.py", "but an error: RateLimited", users='{"error": "RateLimited"}')
        self.fails("zendesk.py", "an item of", users='{"users": [1]}')
        self.fails("zendesk.py", "ticket 7 is not as the API gives it", users=user, tickets='{"tickets": [{"id": 7, "created_at": "soon"}]}')
        self.fails("zammad.py", "but an error: Not authorized", users='{"error": "Not authorized"}')
        self.fails("zammad.py", "history-1.json has no list", users='[{"id": 2}]', tickets="[]", **{"history-1": "{}"})


if __name__ == "__main__":
    unittest.main()
