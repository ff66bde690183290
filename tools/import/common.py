"""What the converters share: reading a folder of JSON, limits of texts, and the past of a ticket.

The limits and words are those of Skranke's import; README.md has the tables.
"""

import contextlib
import json
import re
import sqlite3
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

MOST_BYTES_OF_LINE = 4 * 1024 * 1024
MOST_BYTES_OF_TEXT = 64 * 1024
MOST_BYTES_OF_FIELDS = 16 * 1024
MOST_ENTRIES = 5_000
MOST_WORK_S = 604_800

# The fields of a ticket as it was opened, in the order in which one reads them.
HEAD = (
    "external_id", "number", "subject", "description", "requester", "reported_at", "channel", "type", "priority", "tags",
    "custom_fields", "team", "assignee", "created_by",
)  # fmt: skip

# The legal next steps of a ticket.
NEXT = {
    "new": ["open", "resolved"],
    "open": ["waiting_requester", "waiting_third_party", "resolved"],
    "waiting_requester": ["open", "waiting_third_party", "resolved"],
    "waiting_third_party": ["open", "waiting_requester", "resolved"],
    "resolved": ["open", "closed"],
    "closed": [],
}

Json = dict[str, Any]


class Unreadable(Exception):
    """What was read is not what it should be; says so in a sentence."""


# What is told to whoever runs it.

_warned: set[str] = set()


def warn(text: str) -> None:
    """Tells something to standard error, and the same only once."""
    if text not in _warned:
        _warned.add(text)
        print(f"warning: {text}", file=sys.stderr)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Says of what was being read when it was not as the API gives it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as fault:
        raise Unreadable(f"{what} is not as the API gives it: {type(fault).__name__}: {fault}") from fault


def run(convert: Callable[[], tuple[int, int]]) -> None:
    """Converts, says how much it was, and ends with 1 and a sentence where something cannot be read."""
    try:
        people, tickets = convert()
        sys.stdout.flush()
    except Unreadable as fault:
        sys.exit(f"error: {fault}")
    except (OSError, sqlite3.Error) as fault:
        sys.exit(f"error: it cannot go on: {fault}")
    print(f"{people} people and {tickets} tickets are written", file=sys.stderr)


# Files.


def files(folder: Path, prefix: str) -> list[Path]:
    """The JSON files of a kind, such as `users.json`, `users-2.json` and `users-10.json`, in this order."""
    if not folder.is_dir():
        raise Unreadable(f"{folder} is not a folder")
    named = re.compile(rf"{prefix}([-_.].*)?\.json")
    found = [one for one in folder.rglob("*.json") if named.fullmatch(one.name)]
    return sorted(found, key=lambda one: [int(part) if nth % 2 else part for nth, part in enumerate(re.split(r"(\d+)", str(one)))])


def load(file: Path) -> Any:
    """What a file says."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as fault:
        raise Unreadable(f"{file} cannot be read as JSON: {fault}") from fault


class Shelf:
    """Where everything but people waits until its ticket is told: a database in a temporary file, not memory."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = off")
        self._db.execute("CREATE TABLE item (kind TEXT, id INTEGER, owner INTEGER, version TEXT, body TEXT, UNIQUE (kind, id))")
        self._db.execute("CREATE INDEX item_of ON item (kind, owner, id)")

    def put(self, kind: str, item: Json, owner: int = 0, version: str = "") -> None:
        """Keeps an item, in place of an older version of it."""
        self._db.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE"
            " SET owner = excluded.owner, version = excluded.version, body = excluded.body"
            " WHERE excluded.version >= item.version",
            (kind, int(item["id"]), owner, version, json.dumps(item)),
        )

    def move(self, kind: str, id: int, owner: int) -> None:
        """Gives an item to another owner."""
        self._db.execute("UPDATE item SET owner = ? WHERE kind = ? AND id = ?", (owner, kind, id))

    def get(self, kind: str, id: int) -> Json | None:
        """One item."""
        row = self._db.execute("SELECT body FROM item WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return json.loads(row[0]) if row else None

    def all(self, kind: str, owner: int = 0) -> Iterator[Json]:
        """The items of an owner, by id."""
        rows = self._db.execute("SELECT body FROM item WHERE kind = ? AND owner = ? ORDER BY id", (kind, owner))
        return (json.loads(body) for (body,) in rows)


# Texts.


def sound(text: Any) -> str:
    """Text that can be stored: without NUL, and without halves of characters."""
    return str(text or "").replace("\0", "").encode("utf-8", "replace").decode()


def one_line(text: Any, most: int, where: str) -> str:
    """Text without breaks and control characters, of so many characters at most."""
    line = "".join(" " if unicodedata.category(one) == "Cc" else one for one in sound(text))
    line = " ".join(line.split())
    if len(line) > most:
        warn(f"{where} is cut to {most} characters")
        line = line[: most - 1] + "…"
    return line


def cut(text: str, most: int, where: str) -> str:
    """Text of so many bytes at most."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    warn(f"{where} is cut to {most} bytes")
    return raw[: most - 3].decode(errors="ignore") + "…"


def prose(text: Any, attachments: Iterable[Any], where: str) -> str:
    """Text of many lines, with the names of attachments as its last ones; empty if there is nothing to say."""
    names = [f"[attachment: {one_line(name, 200, where)}]" for name in attachments]
    tail = cut("\n".join(names), MOST_BYTES_OF_TEXT // 2, where)
    body = sound(text).replace("\r\n", "\n").strip()
    body = cut(body, MOST_BYTES_OF_TEXT - len(tail.encode()) - 2, where)
    return "\n\n".join(part for part in (body, tail) if part)


class _Text(HTMLParser):
    BREAKS = {"address", "article", "blockquote", "br", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
              "ol", "p", "pre", "section", "table", "tr", "ul"}  # fmt: skip
    SILENT = {"head", "script", "style", "title"}

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.silent, self.pre = 0, 0
        self.link = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.silent += tag in self.SILENT
        self.pre += tag == "pre"
        if tag in self.BREAKS:
            self.parts.append("\n\n" if tag == "p" else "\n")
        if tag == "li":
            self.parts.append("- ")
        if tag == "td":
            self.parts.append(" ")
        if tag == "a":
            self.link = has.get("href") or ""
        if tag == "img" and has.get("alt"):
            self.parts.append(str(has["alt"]))

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in self.SILENT and self.silent > 0
        self.pre -= tag == "pre" and self.pre > 0
        if tag in self.BREAKS - {"br", "li"}:
            self.parts.append("\n\n" if tag == "p" else "\n")
        if tag == "a":
            if self.link.startswith("http") and self.link.rstrip("/") not in "".join(self.parts[-3:]):
                self.parts.append(f" ({self.link})")
            self.link = ""

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        if not self.pre:
            starts = not self.parts or self.parts[-1].endswith(("\n", " "))
            data = re.sub(r"\s+", " ", data)
            data = data.removeprefix(" ") if starts else data
        self.parts.append(data)


def text_of_html(html: Any) -> str:
    """What one reads where HTML is shown."""
    parser = _Text()
    parser.feed(sound(html))
    parser.close()
    lines = [line.rstrip() for line in "".join(parser.parts).replace("\u00a0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def tags_of(given: Iterable[Any], where: str) -> list[str]:
    """Tags as they may be, by name."""
    tags = {one_line(sound(tag).replace(",", " ").lstrip("! "), 64, f"a tag of {where}") for tag in given}
    kept = sorted(tags - {""})
    if len(kept) > 20:
        warn(f"{where} has {len(kept)} tags, of which 20 are kept")
    return kept[:20]


def instant(text: Any) -> datetime:
    """An instant of RFC 3339."""
    at = datetime.fromisoformat(str(text))
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def written(at: datetime) -> str:
    """An instant as the import reads it."""
    return at.replace(tzinfo=None).isoformat() + "Z"


# People.


class People:
    """Who there is, by the ids of the other helpdesk."""

    def __init__(self) -> None:
        self._refs: dict[int, Json] = {}
        self._staff: set[int] = set()

    def add(self, id: int, email: Any, name: Any, role: str, active: bool) -> Json:
        """Takes a person, and gives their line."""
        address = sound(email).strip().lower()
        if address and (len(address) > 254 or not re.fullmatch(r"[^@\s]+@[^@\s.]([^@\s]*[^@\s.])?", address)):
            warn(f"the address of user {id} is none, and left out: {address!r}")
            address = ""
        ref = {"email": address} if address else {}
        ref["external_id"] = f"user-{id}"
        self._refs[id] = ref
        if role != "requester":
            self._staff.add(id)
        name = one_line(name, 200, f"the name of user {id}") or address or f"user {id}"
        return {"person": ref | {"name": name, "role": role, "active": active}}

    def ref(self, id: Any) -> Json | None:
        """How a ticket names a person; None for nobody and for the machine itself, whose id is below 1."""
        if id in (None, "") or int(id) < 1:
            return None
        if int(id) not in self._refs:
            warn(f"user {id} is not among the users")
            self._refs[int(id)] = {"external_id": f"user-{id}", "name": f"user {id}"}
        return self._refs[int(id)]

    def is_staff(self, id: Any) -> bool:
        """Whether somebody is an agent or an admin."""
        return id not in (None, "") and int(id) in self._staff


# The past of a ticket.


@dataclass
class Event:
    """One thing that happened, by one person or none: fields with what they were and what they became, or a comment, or work."""

    at: datetime
    actor: Json | None = None
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    comment: Json | None = None
    work_s: int | None = None


@dataclass
class Past:
    """What is known of a ticket: `now`, as it was `born` where that is told, and what happened in between, if that is `known`."""

    where: str
    opened: datetime
    updated: datetime
    creator: Json | None
    creator_is_staff: bool
    now: Json
    known: bool
    born: Json = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def say(self, at: datetime, actor: Json | None, public: bool, body: str) -> None:
        """Adds a comment, unless it is blank. What nobody wrote is internal: it must not count as a reply."""
        if body.strip():
            comment = {"visibility": "public" if public and actor else "internal", "body": body}
            self.events.append(Event(at, actor, comment=comment))

    def work(self, at: datetime, actor: Json | None, staff: bool, seconds: float) -> None:
        """Adds time that was worked."""
        work_s = min(round(seconds), MOST_WORK_S)
        if work_s < 1:
            return
        if not staff:
            warn(f"{self.where}: {work_s} seconds of work are left out, since who did it is no agent")
            return
        self.events.append(Event(at, actor, work_s=work_s))

    def told(self, head: Json) -> Json:
        """The ticket as the import reads it: as it was when it was opened, and its timeline."""
        for event in self.events:
            event.at = max(event.at, self.opened)
        self.events.sort(key=lambda event: event.at)
        first = dict(self.now)
        for event in reversed(self.events):
            first |= {name: was for name, (was, _) in event.fields.items()}
        first |= self.born
        status = first["status"] if self.known else "new"
        first["status"] = "new"
        told = head | {"reported_at": written(self.opened), "created_by": self.creator}
        told |= gathered(first, {name for name, value in first.items() if value is not None}, self.where)
        ticket = {name: told[name] for name in HEAD if told.get(name) is not None}
        timeline = Timeline(first, self.where)
        timeline.add(Event(self.opened, self.creator if self.creator_is_staff else None, {"status": ("new", status)}))
        for event in self.events:
            timeline.add(event)
        missing = {name: (None, now) for name, now in self.now.items() if "/" not in name and timeline.state.get(name) != now}
        if missing:
            what = "what happened does not lead to what is now" if self.known else "what happened is not known"
            warn(f"{self.where}: {what}; added at the end: {', '.join(sorted(missing))}")
            timeline.add(Event(max([self.updated, self.opened, *(event.at for event in self.events)]), fields=missing))
        ticket["timeline"] = timeline.closed()
        return {"ticket": ticket}


class Timeline:
    """Entries, with legal steps from status to status alone."""

    def __init__(self, state: Json, where: str) -> None:
        self.state, self.where = dict(state), where
        self._entries: list[Json] = []
        self._stands = "new"
        self._last: datetime | None = None
        self._closing: Event | None = None

    def add(self, event: Event) -> None:
        """Adds what an event has changed, and what was said and done in it."""
        changed = {name: now for name, (_, now) in event.fields.items() if self.state.get(name) != now}
        self.state |= changed
        status = changed.pop("status", None)
        if status:
            self._closing = event if status == "closed" else None
            *through, status = steps(self._stands, "resolved" if status == "closed" else status) or [None]
            for step in through:
                self._enter(event, {"status": step})
        if event.comment and not status:
            # Said outright, so that what was written moves nothing that did not move then.
            status = self._stands
        entry = ({"status": status} if status else {}) | gathered(self.state, changed.keys(), self.where)
        if event.comment:
            entry["comment"] = event.comment
        if event.work_s:
            entry["work_s"] = event.work_s
        if entry:
            self._enter(event, entry)

    def closed(self) -> list[Json]:
        """All entries. A closed ticket takes no comment any more, so that it is closed after all else has happened."""
        if self._closing:
            last = self._last or self._closing.at
            self._enter(Event(max(last, self._closing.at), self._closing.actor), {"status": "closed"})
        surplus = len(self._entries) - MOST_ENTRIES
        if surplus <= 0:
            return self._entries
        warn(f"{self.where}: {surplus} entries are left out, the oldest comments first")
        talk = [nth for nth, entry in enumerate(self._entries) if entry.keys() <= {"at", "actor", "status", "comment"}]
        spared = set(talk[:surplus])
        return [entry for nth, entry in enumerate(self._entries) if nth not in spared][:MOST_ENTRIES]

    def _enter(self, event: Event, entry: Json) -> None:
        self._entries.append({"at": written(event.at)} | ({"actor": event.actor} if event.actor else {}) | entry)
        self._stands = entry.get("status", self._stands)
        self._last = event.at


def gathered(state: Json, changed: Iterable[str], where: str) -> Json:
    """Fields that have changed. `custom_fields/NAME` becomes one object: what has a value, and what has just lost it."""
    fields = {name: state[name] for name in sorted(changed) if "/" not in name}
    lost = {name for name in changed if "/" in name}
    if lost:
        custom = {name.partition("/")[2]: state[name] for name in sorted(state) if "/" in name and (state[name] is not None or name in lost)}
        if len(json.dumps(custom, ensure_ascii=False).encode()) <= MOST_BYTES_OF_FIELDS:
            return fields | {"custom_fields": custom}
        warn(f"{where}: custom fields of more than {MOST_BYTES_OF_FIELDS} bytes are left out")
    return fields


def steps(stands: str, to: str) -> list[str]:
    """The legal steps from one status to another; nothing is new again."""
    if to == "new" and stands != "new":
        to = "open"
    if to == stands:
        return []
    return [to] if to in NEXT[stands] else ["open", to]


def write(line: Json) -> None:
    """Writes a line; where it is longer than a line may be, its texts are cut to less and less."""
    text, most = json.dumps(line, ensure_ascii=False), MOST_BYTES_OF_TEXT
    while len(text.encode()) > MOST_BYTES_OF_LINE and most > 64:
        most //= 2
        ticket = line["ticket"]
        for holder, key in [(ticket, "description"), *((entry.get("comment", {}), "body") for entry in ticket["timeline"])]:
            if key in holder:
                holder[key] = cut(holder[key], most, f"a text of {ticket['external_id']}, which is too long for a line,")
        text = json.dumps(line, ensure_ascii=False)
    sys.stdout.buffer.write(text.encode() + b"\n")
