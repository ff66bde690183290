#!/usr/bin/env python3
"""Turns a folder of Zendesk's exports into lines for the import of Skranke: python3 zendesk.py FOLDER > zendesk.ndjson

README.md says which files, how to fetch them, and what becomes of what.
"""

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common import (
    Event,
    Json,
    Past,
    People,
    Shelf,
    Unreadable,
    files,
    instant,
    load,
    one_line,
    prose,
    reading,
    run,
    tags_of,
    text_of_html,
    warn,
    write,
)

ROLES = {"end-user": "requester", "agent": "agent", "admin": "admin"}
STATUSES = {
    "new": "new",
    "open": "open",
    "pending": "waiting_requester",
    "hold": "waiting_third_party",
    "solved": "resolved",
    "closed": "closed",
}
PRIORITIES = {"low": "low", "normal": "normal", "high": "high", "urgent": "urgent"}
TYPES = {"question": "question", "incident": "incident", "problem": "problem", "task": "service_request"}
CHANNELS = {
    "email": "email",
    "mail": "email",
    "web": "web",
    "web_form": "web",
    "web_widget": "web",
    "help_center": "web",
    "closed_ticket": "web",
    "mobile": "web",
    "mobile_sdk": "web",
    "api": "api",
    "web_service": "api",
    "rule": "api",
    "system": "api",
    "ticket_sharing": "api",
    "any_channel": "api",
    "voice": "phone",
    "voicemail": "phone",
    "phone": "phone",
    "phone_call_inbound": "phone",
    "phone_call_outbound": "phone",
    "chat": "chat",
    "chat_transcript": "chat",
    "messaging": "chat",
    "native_messaging": "chat",
    "sms": "chat",
    "whatsapp": "chat",
    "telegram": "chat",
    "line": "chat",
    "wechat": "chat",
    "facebook": "chat",
    "twitter": "chat",
    "instagram_dm": "chat",
}
# What a change may be about, beside custom fields, which are named by their numbers.
FIELDS = ("status", "priority", "type", "subject", "group_id", "assignee_id", "requester_id", "tags")
NAMES = {"group_id": "team", "assignee_id": "assignee", "requester_id": "requester"}


def pages(folder: Path, prefix: str, key: str) -> Iterator[Json]:
    """What the pages of an export list under `key`."""
    for file in files(folder, prefix):
        page = load(file)
        if not isinstance(page, dict) or not isinstance(page.get(key), list):
            said = page.get("error") if isinstance(page, dict) else None
            raise Unreadable(f"{file} has no list of {key}" + (f", but an error: {said}" if said else ""))
        for item in page[key]:
            with reading(f"an item of {file}"):
                item["id"]  # Everything has one.
            yield item


def audit_of(event: Json) -> Json:
    """An item of the export of events, in the form of an audit. It names a field by a key, not by a value."""
    events = []
    for child in event.get("child_events") or []:
        kind, via = child.get("event_type"), child.get("via")
        base = {"type": kind, "previous_value": child.get("previous_value"), "via": via}
        if kind in ("Create", "Change"):
            changed = {name: child[name] for name in FIELDS if name in child} | (child.get("custom_ticket_fields") or {})
            events += [base | {"field_name": name, "value": value} for name, value in changed.items()]
        else:
            if child.get("comment_present") and not is_comment(child | {"type": kind}):
                warn("events tell of comments without their texts: fetch them with include=comment_events")
            events.append(child | {"type": kind})
    at = event.get("created_at") or datetime.fromtimestamp(event["timestamp"], timezone.utc).isoformat()
    return {"id": event["id"], "ticket_id": event["ticket_id"], "created_at": at, "author_id": event.get("updater_id"), "events": events}


def is_rule(event: Json) -> bool:
    """Whether a trigger or an automation did it, and not the author of the audit."""
    via = event.get("via")
    channel = via.get("channel") if isinstance(via, dict) else via
    return str(channel).lower() == "rule"


class Converter:
    """People and groups by their ids, and what one says of them."""

    def __init__(self, folder: Path, time_field: str | None, numbers: bool) -> None:
        self.folder, self.time_field, self.numbers = folder, time_field, numbers
        self.people, self.shelf = People(), Shelf()
        self.groups: dict[int, str] = {}
        self.titles: dict[str, str] = {}

    def convert(self) -> tuple[int, int]:
        """Writes all people, then all tickets; tells how many."""
        self.collect()
        people = tickets = deleted = 0
        for user in self.shelf.all("user"):
            with reading(f"user {user['id']}"):
                write(self.person(user))
            people += 1
        for ticket in self.shelf.all("ticket"):
            if ticket.get("status") == "deleted":
                deleted += 1
                continue
            with reading(f"ticket {ticket['id']}"):
                write(self.ticket(ticket))
            tickets += 1
        if deleted:
            warn(f"deleted tickets are left out: {deleted}")
        return people, tickets

    def collect(self) -> None:
        """Reads all files. The exports may have an item more than once: the newest counts."""
        for user in pages(self.folder, "users", "users"):
            self.shelf.put("user", user, version=str(user.get("updated_at")))
        for group in pages(self.folder, "groups", "groups"):
            self.groups[int(group["id"])] = one_line(group.get("name"), 100, f"the name of group {group['id']}")
        for field in pages(self.folder, "ticket_fields", "ticket_fields"):
            title = one_line(field.get("title"), 100, f"the title of field {field['id']}") or str(field["id"])
            self.titles[str(field["id"])] = f"{title} ({field['id']})" if title in self.titles.values() else title
        for ticket in pages(self.folder, "tickets", "tickets"):
            self.shelf.put("ticket", ticket, version=str(ticket.get("updated_at")))
        for audit in pages(self.folder, "audits", "audits"):
            with reading(f"audit {audit['id']}"):
                self.shelf.put("audit", audit, owner=int(audit["ticket_id"]))
        for event in pages(self.folder, "events", "ticket_events"):
            with reading(f"event {event['id']}"):
                self.shelf.put("audit", audit_of(event), owner=int(event["ticket_id"]))
        for kind in ("user", "ticket"):
            if next(self.shelf.all(kind), None) is None:
                raise Unreadable(f"{self.folder} has no {kind}s: there must be {kind}s.json, or {kind}s-1.json and so on")

    def person(self, user: Json) -> Json:
        """The line of a person."""
        active = bool(user.get("active", True)) and not user.get("suspended")
        role = ROLES.get(str(user.get("role")), "requester")
        return self.people.add(int(user["id"]), user.get("email"), user.get("name"), role, active)

    def field(self, name: str, value: Any, where: str) -> tuple[str, Any]:
        """A field and its value, in Skranke's words."""
        match name:
            case "status":
                return name, known(STATUSES, value or "new", "open", name)
            case "priority":
                return name, known(PRIORITIES, value or "normal", "normal", name)
            case "type":
                return name, known(TYPES, value or "incident", "incident", name)
            case "subject":
                return name, one_line(value, 255, f"the subject of {where}") or "(no subject)"
            case "tags":
                return name, tags_of(value.split() if isinstance(value, str) else value or [], where)
            case "group_id":
                return "team", self.team(value)
            case "assignee_id" | "requester_id":
                return NAMES[name], self.people.ref(value)
        return f"custom_fields/{self.titles.get(name, name)}", None if value in ("", []) else value

    def team(self, id: Any) -> str | None:
        """The name of a group."""
        if id in (None, ""):
            return None
        if int(id) not in self.groups:
            warn(f"group {id} is not among the groups, and left out")
        return self.groups.get(int(id))

    def ticket(self, ticket: Json) -> Json:
        """The line of a ticket."""
        where = f"ticket {ticket['id']}"
        opened, updated = instant(ticket["created_at"]), instant(ticket.get("updated_at") or ticket["created_at"])
        now = dict(self.field(name, ticket.get(name), where) for name in FIELDS)
        for custom in ticket.get("custom_fields") or []:
            if str(custom["id"]) != self.time_field:
                now |= [self.field(str(custom["id"]), custom.get("value"), where)]
        submitter = ticket.get("submitter_id")
        audits = sorted(self.shelf.all("audit", int(ticket["id"])), key=lambda audit: instant(audit["created_at"]))
        past = Past(where, opened, updated, self.people.ref(submitter), self.people.is_staff(submitter), now, bool(audits))

        head: Json = {"external_id": f"zendesk-{ticket['id']}"}
        if self.numbers:
            head["number"] = int(ticket["id"])
        via = ticket.get("via") or {}
        head["channel"] = known(CHANNELS, via.get("channel") or "web", "web", "channel")
        source = via.get("source") or {}
        if source.get("rel") == "follow_up" and (source.get("from") or {}).get("ticket_id"):
            past.say(opened, None, False, f"Follow-up to ticket {source['from']['ticket_id']}.")

        comments = [(audit, event) for audit in audits for event in audit["events"] if is_comment(event)]
        # Whether a comment is internal may have been changed later.
        hidden = {
            event.get("comment_id"): event.get("public") is False
            for audit in audits
            for event in audit["events"]
            if event["type"] == "CommentPrivacyChange"
        }
        public = [event.get("public") is not False and not hidden.get(event.get("id")) for _, event in comments]
        # A description is seen by the requester, so that an internal one stays a comment.
        if not comments or not is_first(comments[0][0], opened):
            said = ticket.get("description") if ticket.get("is_public") is not False else ""
            head["description"] = prose(said, [], f"the description of {where}") or None
        elif public[0]:
            head["description"] = body_of(comments.pop(0)[1], where) or None
            public.pop(0)
        for (audit, event), seen in zip(comments, public):
            author = self.people.ref(event.get("author_id") or audit.get("author_id"))
            past.say(instant(audit["created_at"]), author, seen, body_of(event, where))
        for audit in audits:
            self.changes(past, audit, where)
        return past.told(head)

    def changes(self, past: Past, audit: Json, where: str) -> None:
        """Adds what an audit has changed: what its author did, then what rules did."""
        at, author = instant(audit["created_at"]), self.people.ref(audit.get("author_id"))
        did = {False: Event(at, author), True: Event(at)}
        for event in audit["events"]:
            name = str(event.get("field_name"))
            if event["type"] not in ("Create", "Change") or name not in FIELDS and not name.isdigit():
                continue
            if name == self.time_field:
                past.work(at, author, self.people.is_staff(audit.get("author_id")), float(event.get("value") or 0))
                continue
            field, value = self.field(name, event.get("value"), where)
            if event["type"] == "Create":
                past.born[field] = value
                continue
            fields = did[is_rule(event)].fields
            before = fields[field][0] if field in fields else self.field(name, event.get("previous_value"), where)[1]
            fields[field] = (before, value)
        past.events += [event for event in did.values() if event.fields]


def is_first(audit: Json, opened: datetime) -> bool:
    """Whether an audit is that of the opening of a ticket."""
    return instant(audit["created_at"]) <= opened or any(event["type"] == "Create" for event in audit["events"])


def is_comment(event: Json) -> bool:
    """Whether an event says something: a comment, one of a call, and so on."""
    return str(event.get("type")).endswith("Comment") and any(event.get(key) for key in ("body", "plain_body", "html_body", "attachments"))


def body_of(event: Json, where: str) -> str:
    """The text of a comment, and the names of its attachments."""
    text = str(event.get("plain_body") or "").replace("&nbsp;", " ") or text_of_html(event.get("html_body")) or event.get("body")
    names = [one.get("file_name") for one in event.get("attachments") or []]
    return prose(text, names, f"a comment of {where}")


def known(table: dict[str, str], value: Any, otherwise: str, name: str) -> str:
    """Skranke's word for one of Zendesk's."""
    if str(value) not in table:
        warn(f"the {name} {value!r} is unknown, and taken for {otherwise}")
    return table.get(str(value), otherwise)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Turns a folder of Zendesk's exports into lines for the import of Skranke.")
    parser.add_argument("folder", type=Path, help="where the JSON files are")
    parser.add_argument("--time-field", metavar="ID", help="the custom field in which the Time Tracking app keeps the seconds of an update")
    parser.add_argument("--no-numbers", action="store_true", help="let Skranke number the tickets anew")
    given = parser.parse_args()
    run(Converter(given.folder, given.time_field, not given.no_numbers).convert)
