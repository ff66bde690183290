#!/usr/bin/env python3
"""Turns a folder of Zammad's data into lines for the import of Skranke: python3 zammad.py FOLDER > zammad.ndjson

README.md says which files, how to fetch them, and what becomes of what.
"""

import argparse
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from common import (
    NEXT,
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

# By the names of states, and of the types of states.
STATES = {
    "new": "new",
    "open": "open",
    "pending reminder": "waiting_requester",
    "pending close": "resolved",
    "pending action": "resolved",
    "closed": "closed",
    "merged": "closed",
    "removed": "closed",
}
STATE_IDS = {1: "new", 2: "open", 3: "pending reminder", 4: "closed", 5: "merged", 6: "removed", 7: "pending close"}
STATE_TYPE_IDS = {1: "new", 2: "open", 3: "pending reminder", 4: "pending action", 5: "closed", 6: "merged", 7: "removed"}
PRIORITIES = {
    "low": "low",
    "very low": "low",
    "normal": "normal",
    "medium": "normal",
    "high": "high",
    "very high": "urgent",
    "urgent": "urgent",
    "critical": "urgent",
    "emergency": "urgent",
}
PRIORITY_IDS = {1: "1 low", 2: "2 normal", 3: "3 high"}
TYPES = {
    "incident": "incident",
    "problem": "problem",
    "question": "question",
    "request for change": "service_request",
    "service request": "service_request",
}
# By the first word of the type of an article.
CHANNELS = {
    "email": "email",
    "phone": "phone",
    "fax": "phone",
    "web": "web",
    "note": "web",
    "sms": "chat",
    "chat": "chat",
    "twitter": "chat",
    "facebook": "chat",
    "telegram": "chat",
    "whatsapp": "chat",
}
ARTICLE_TYPE_IDS = {
    1: "email", 2: "sms", 3: "chat", 4: "fax", 5: "phone", 6: "twitter", 7: "twitter", 8: "facebook", 9: "facebook",
    10: "note", 11: "web", 12: "telegram", 13: "facebook", 14: "whatsapp",
}  # fmt: skip
SYSTEM_SENDER_ID = 3
# What is changed in Zammad, and its name here.
ATTRIBUTES = {
    "state": "status",
    "priority": "priority",
    "type": "type",
    "title": "subject",
    "group": "team",
    "owner": "assignee",
    "customer": "requester",
}


def items(folder: Path, prefix: str) -> Iterator[Json]:
    """What the pages of a list have."""
    for file in files(folder, prefix):
        page = load(file)
        if not isinstance(page, list):
            said = page.get("error") if isinstance(page, dict) else None
            raise Unreadable(f"{file} is not a list" + (f", but an error: {said}" if said else ""))
        for item in page:
            with reading(f"an item of {file}"):
                item["id"]  # Everything has one.
            yield item


class Converter:
    """People, groups and words by their ids, and what one says of them."""

    def __init__(self, folder: Path, states: dict[str, str], custom: list[str], unit_s: float | None, numbers: bool) -> None:
        self.folder, self.custom, self.unit_s, self.numbers = folder, custom, unit_s, numbers
        self.people, self.shelf = People(), Shelf()
        self.states = STATES | states
        self.state_names, self.priority_names = dict(STATE_IDS), dict(PRIORITY_IDS)
        self.groups: dict[int, str] = {}
        self.roles: dict[int, str] = {1: "admin", 2: "agent"}

    def convert(self) -> tuple[int, int]:
        """Writes all people, then all tickets; tells how many."""
        self.collect()
        people = tickets = 0
        for user in self.shelf.all("user"):
            if int(user["id"]) == 1:
                continue  # Zammad itself.
            with reading(f"user {user['id']}"):
                write(self.person(user))
            people += 1
        for ticket in self.shelf.all("ticket"):
            with reading(f"ticket {ticket['id']}"):
                write(self.ticket(ticket))
            tickets += 1
        return people, tickets

    def collect(self) -> None:
        """Reads all files."""
        for user in items(self.folder, "users"):
            self.shelf.put("user", user)
        for role in items(self.folder, "roles"):
            may = role.get("permissions") or []
            if "admin" in may or role.get("name") == "Admin":
                self.roles[int(role["id"])] = "admin"
            elif "ticket.agent" in may or role.get("name") == "Agent":
                self.roles[int(role["id"])] = "agent"
        for group in items(self.folder, "groups"):
            self.groups[int(group["id"])] = one_line(group.get("name"), 100, f"the name of group {group['id']}")
        for state in items(self.folder, "states"):
            name = str(state.get("name"))
            self.state_names[int(state["id"])] = name
            kind = state.get("state_type") or STATE_TYPE_IDS.get(state.get("state_type_id"))
            if kind in STATES:
                self.states.setdefault(name.lower(), STATES[kind])
        for priority in items(self.folder, "priorities"):
            self.priority_names[int(priority["id"])] = str(priority.get("name"))
        for ticket in items(self.folder, "tickets"):
            self.shelf.put("ticket", ticket, version=str(ticket.get("updated_at")))
        for article in items(self.folder, "articles"):
            with reading(f"article {article['id']}"):
                self.shelf.put("article", article, owner=int(article["ticket_id"]))
        for file in files(self.folder, "history"):
            page = load(file)
            entries = page.get("history") if isinstance(page, dict) else page
            if not isinstance(entries, list):
                raise Unreadable(f"{file} has no list of history")
            with reading(f"{file}"):
                self.history(entries)
        for kind in ("user", "ticket"):
            if next(self.shelf.all(kind), None) is None:
                raise Unreadable(f"{self.folder} has no {kind}s: there must be {kind}s.json, or {kind}s-1.json and so on")

    def history(self, entries: list[Json]) -> None:
        """Keeps what happened to a ticket; an article goes back to the ticket that it was written in, before a merge."""
        for entry in entries:
            if entry["object"] == "Ticket":
                self.shelf.put("entry", entry, owner=int(entry["o_id"]))
            elif entry["object"] == "Ticket::Article" and entry["type"] == "created" and entry.get("related_o_id"):
                self.shelf.move("article", int(entry["o_id"]), int(entry["related_o_id"]))

    def person(self, user: Json) -> Json:
        """The line of a person."""
        has = {self.roles.get(int(id)) for id in user.get("role_ids") or []}
        role = "admin" if "admin" in has else "agent" if "agent" in has else "requester"
        name = f"{user.get('firstname') or ''} {user.get('lastname') or ''}".strip() or user.get("login")
        return self.people.add(int(user["id"]), user.get("email"), name, role, bool(user.get("active", True)))

    def field(self, name: str, id: Any, text: Any, where: str) -> Any:
        """The value of a field, in Skranke's words, by what Zammad has for it: an id, a name, or both."""
        match name:
            case "status":
                return self.state(id, text)
            case "priority":
                # By its own name first: priorities are called as "2 normal".
                word = str(text or self.priority_names.get(int(id or 2), id))
                return known(PRIORITIES, re.sub(r"^[\W\d]+", "", word).lower(), "normal", "priority")
            case "type":
                return known(TYPES, str(text or "incident").lower(), "incident", "type")
            case "subject":
                return one_line(text, 255, f"the title of {where}") or "(no subject)"
            case "team":
                return one_line(self.groups.get(int(id or 0)) or text, 100, f"the group of {where}") or None
            case "assignee" | "requester":
                return self.people.ref(None if id == 1 else id)
        return None if text in ("", []) else text

    def state(self, id: Any, text: Any) -> str:
        """The status of a state."""
        for name in (text, self.state_names.get(int(id or 0))):
            if name and str(name).lower() in self.states:
                return self.states[str(name).lower()]
        return known(self.states, str(text or id), "open", "state")

    def ticket(self, ticket: Json) -> Json:
        """The line of a ticket."""
        where = f"ticket {ticket['id']}"
        opened, updated = instant(ticket["created_at"]), instant(ticket.get("updated_at") or ticket["created_at"])
        now = {}
        for attribute, name in ATTRIBUTES.items():
            text = ticket.get(attribute) if name not in ("assignee", "requester") else None
            now[name] = self.field(name, ticket.get(f"{attribute}_id"), text, where)
        for name in self.custom:
            now[f"custom_fields/{name}"] = self.field(name, None, ticket.get(name), where)
        creator = ticket.get("created_by_id")
        history = list(self.shelf.all("entry", int(ticket["id"])))
        past = Past(where, opened, updated, self.actor(creator), self.people.is_staff(creator), now, bool(history))
        tags: set[str] = set()
        for entry in history:
            self.happened(past, entry, tags, where)
        if isinstance(ticket.get("tags"), list):
            tags = set(ticket["tags"])
        past.now["tags"] = tags_of(tags, where)

        articles = sorted(self.shelf.all("article", int(ticket["id"])), key=lambda one: instant(one["created_at"]))
        head: Json = {"external_id": f"zammad-{ticket['id']}"}
        if self.numbers and str(ticket.get("number")).isdecimal():
            head["number"] = int(ticket["number"])
        first = articles[0] if articles else {}
        head["channel"] = channel(ticket.get("create_article_type"), ticket.get("create_article_type_id"), first)
        # A description is seen by the requester, so that an internal one stays a comment.
        if first and not first.get("internal"):
            head["description"] = body_of(articles.pop(0), where) or None
            self.work(past, first)
        merged = any(entry["type"] == "merged_into" for entry in history)
        for article in articles:
            if merged and article.get("body") == "merged":
                continue  # Told by the history, with the number of the other ticket.
            author = None if is_system(article) else self.actor(article.get("origin_by_id") or article.get("created_by_id"))
            past.say(instant(article["created_at"]), author, not article.get("internal"), body_of(article, where))
            self.work(past, article)
        # What is said at an instant comes before what is changed then: a closed ticket takes no comment.
        past.events.sort(key=lambda event: bool(event.fields))
        return past.told(head)

    def actor(self, id: Any) -> Json | None:
        """Who did something; None for Zammad itself."""
        return self.people.ref(None if id == 1 else id)

    def happened(self, past: Past, entry: Json, tags: set[str], where: str) -> None:
        """Adds an entry of the history; `tags` are those of before, and then those of after."""
        at = instant(entry["created_at"])
        # What a trigger or the scheduler did names it as its source.
        actor = None if entry.get("sourceable_type") else self.actor(entry.get("created_by_id"))
        kind, attribute = entry["type"], str(entry.get("attribute"))
        if kind in ("added", "removed") and attribute == "tag":
            before, tag = tags_of(tags, where), str(entry.get("value_to") or entry.get("value_from"))
            (tags.add if kind == "added" else tags.discard)(tag)
            self.changed(past, at, actor, "tags", before, tags_of(tags, where))
        elif kind == "updated" and (attribute in ATTRIBUTES or attribute in self.custom):
            name = ATTRIBUTES.get(attribute, attribute)
            was = self.field(name, entry.get("id_from"), entry.get("value_from"), where)
            became = self.field(name, entry.get("id_to"), entry.get("value_to"), where)
            self.changed(past, at, actor, name if attribute in ATTRIBUTES else f"custom_fields/{name}", was, became)
        elif kind == "merged_into":
            past.say(at, actor, False, f"Merged into ticket {self.number(entry.get('id_to'))}.")
        elif kind == "received_merge":
            past.say(at, actor, False, f"Ticket {self.number(entry.get('id_from'))} was merged into this one.")

    def changed(self, past: Past, at: datetime, actor: Json | None, name: str, was: Any, became: Any) -> None:
        """Adds a change; what was changed at once is one event, as Zammad's history has it field by field."""
        last = past.events[-1] if past.events else None
        if last and last.fields and name not in last.fields and (last.at, last.actor) == (at, actor):
            last.fields[name] = (was, became)
        else:
            past.events.append(Event(at, actor, {name: (was, became)}))

    def number(self, id: Any) -> Any:
        """The number of a ticket, by which people call it."""
        ticket = self.shelf.get("ticket", int(id or 0))
        return ticket["number"] if ticket else f"with the id {id}"

    def work(self, past: Past, article: Json) -> None:
        """Adds the time that an article accounts for."""
        units = float(article.get("time_unit") or 0)
        if units and self.unit_s is None:
            warn("time accounting is left out: say with --time-unit-s how long a unit is")
        elif units:
            id = article.get("created_by_id")
            past.work(instant(article["created_at"]), self.actor(id), self.people.is_staff(id), units * (self.unit_s or 0))


def channel(name: Any, id: Any, article: Json) -> str:
    """The channel by which a ticket came, by the type of its first article."""
    word = name or ARTICLE_TYPE_IDS.get(id) or article.get("type") or ARTICLE_TYPE_IDS.get(article.get("type_id")) or "web"
    return known(CHANNELS, str(word).split()[0], "web", "channel")


def is_system(article: Json) -> bool:
    """Whether Zammad wrote it by itself, as automatic replies are."""
    return article.get("sender") == "System" or article.get("sender_id") == SYSTEM_SENDER_ID


def body_of(article: Json, where: str) -> str:
    """The text of an article, and the names of its attachments."""
    body = article.get("body")
    text = text_of_html(body) if article.get("content_type") == "text/html" else body
    names = [one.get("filename") for one in article.get("attachments") or []]
    return prose(text, names, f"an article of {where}")


def known(table: dict[str, str], value: str, otherwise: str, name: str) -> str:
    """Skranke's word for one of Zammad's."""
    if value not in table:
        warn(f"the {name} {value!r} is unknown, and taken for {otherwise}")
    return table.get(value, otherwise)


def state_word(text: str) -> tuple[str, str]:
    """A state of one's own and its status."""
    name, _, status = text.rpartition("=")
    if not name or status not in NEXT:
        raise argparse.ArgumentTypeError(f"{text!r} is not as NAME=STATUS, with one of {', '.join(NEXT)}")
    return name.lower(), status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Turns a folder of Zammad's data into lines for the import of Skranke.")
    parser.add_argument("folder", type=Path, help="where the JSON files are")
    parser.add_argument("--state", metavar="NAME=STATUS", type=state_word, action="append", default=[], help="what a state of your own is here")
    parser.add_argument("--field", metavar="NAME", action="append", default=[], help="an attribute of your own that becomes a custom field")
    parser.add_argument("--time-unit-s", metavar="SECONDS", type=float, help="how long a unit of time accounting is")
    parser.add_argument("--no-numbers", action="store_true", help="let Skranke number the tickets anew")
    given = parser.parse_args()
    run(Converter(given.folder, dict(given.state), given.field, given.time_unit_s, not given.no_numbers).convert)
