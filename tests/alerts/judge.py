"""Asks Prometheus, both Alertmanagers, the machines, the balancer and Skranke, and says what is proven.

judge.py COMMAND...   with their addresses in the environment, see check.sh. Each command waits until what it is about holds, and
                      fails in words when it has not come to hold in time.

clustered             the Alertmanagers know each other
phase NAME            the machines begin this one
answered N PORT       so many more notifications were answered 200: of the sender or by the server at this port
flapped N             each series that comes and goes has come and gone so often
silent                no alert fires, and no ticket is open
settled               an open ticket for each alert that fires, one each, and no other; through repeated notifications, too
started [anew]        each of these tickets was reported when its alert began to fire; anew: which had been over, or had never stopped
once                  no ticket was opened twice for one firing, and none without one
counted               what was cut off, and what Skranke has counted
"""

import collections
import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from calendar import timegm

E = os.environ
ALERTMANAGERS, SENDERS, SKRANKES = E["ALERTMANAGERS"].split(), E["SENDERS"].split(), E["SKRANKES"].split()
HEADERS = {"Authorization": "Bearer " + E["TOKEN"]}


class NotYet(Exception):
    """What does not hold, but may soon."""


def say(text):
    print("  " + text, flush=True)


def get(address, path, headers={}, post=False):
    with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", b"" if post else None, headers), timeout=10) as answer:
        body = answer.read().decode()
        return json.loads(body) if "json" in answer.headers["Content-Type"] else body


def pages(skranke, path, **query):
    """All items of a list of Skranke."""
    items, cursor = [], {}
    while True:
        page = get(skranke, f"{path}?{urllib.parse.urlencode({'limit': 200, **query, **cursor})}", HEADERS)
        items += page["items"]
        if not page["next_cursor"]:
            return items
        cursor = {"cursor": page["next_cursor"]}


def within(seconds, what, ask):
    """The answer, once it comes without a NotYet."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (NotYet, OSError) as why:
            if time.monotonic() > end:
                sys.exit(f"judge.py: within {seconds} s {what} did not come: {why}")
        time.sleep(0.3)


def micros(text):
    """An instant of RFC 3339 in UTC, to the microsecond, as Skranke keeps it."""
    head, fraction = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", text).groups()
    return timegm(time.strptime(head, "%Y-%m-%dT%H:%M:%S")) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])


def named(labels):
    return f"{labels['alertname']}/{labels['machine']}"


def firing():
    """What Prometheus says fires."""
    return sorted(named(one["labels"]) for one in get(E["PROMETHEUS"], "/api/v1/alerts")["data"]["alerts"] if one["state"] == "firing")


def began():
    """Since when that is, by both Alertmanagers."""
    both = [{named(one["labels"]): micros(one["startsAt"]) for one in get(at, "/api/v2/alerts")} for at in ALERTMANAGERS]
    if both[0] != both[1]:
        raise NotYet("the Alertmanagers do not agree")
    return both[0]


def firings():
    """When each alert has begun to fire, ever."""
    starts = collections.defaultdict(set)
    for one in get(E["MACHINES"], "/firings"):
        starts[named(one["labels"])].add(micros(one["startsAt"]))
    return starts


def open_tickets(skranke):
    """The alerts of each unsolved ticket."""
    alerts = collections.defaultdict(list)
    for one in pages(skranke, "/v1/alerts"):
        if one["ticket"]:
            alerts[one["ticket"]["number"]].append(one)
    return {one["number"]: (one, alerts[one["number"]]) for one in pages(skranke, "/v1/tickets", status="unsolved")}


def differ(fires, tickets):
    """How the tickets are others than what fires."""
    have = sorted(named(one["labels"]) for _, alerts in tickets.values() for one in alerts or [{"labels": {"alertname": "none", "machine": "?"}}])
    more, less = collections.Counter(have), collections.Counter(fires)
    if more != less:
        raise NotYet(f"open tickets too many: {sorted((more - less).elements())}, too few: {sorted((less - more).elements())}")
    for number, (_, alerts) in tickets.items():
        if len(alerts) != 1 or alerts[0]["state"] != "firing":
            raise NotYet(f"ticket {number} is of these alerts: {[(named(one['labels']), one['state']) for one in alerts]}")


def balancer():
    return get(E["BALANCER"], "/")


def answered(port=None):
    """How many notifications were answered 200: all, those of a sender, or those that a server took."""
    now = balancer()
    if port in now["served"]:
        return now["served"][port]
    return sum(sender["answered"].get("200", 0) for at, sender in now["senders"].items() if port in (None, at))


def command_clustered():
    def ask():
        for at in ALERTMANAGERS:
            cluster = get(at, "/api/v2/status")["cluster"]
            if cluster["status"] != "ready" or len(cluster["peers"]) != 2:
                raise NotYet(f"{at} is {cluster['status']}, with {len(cluster['peers'])} peers")
    within(60, "the cluster of both Alertmanagers", ask)
    say("the Alertmanagers are a cluster: each of them knows two peers and is ready")


def command_phase(name):
    get(E["MACHINES"], "/phase/" + name, post=True)


def command_answered(more, port):
    before = answered(port)

    def ask():
        if answered(port) < before + int(more):
            raise NotYet(f"{answered(port) - before} of {more}")
    within(60, f"{more} notifications at {port}", ask)


def command_flapped(times):
    def ask():
        ended = collections.Counter(named(one["labels"]) for one in get(E["MACHINES"], "/firings") if one["endsAt"])
        if len(ended) < 14 or min(ended.values()) < int(times):
            raise NotYet(f"so often have they come and gone: {dict(ended)}")
        return ended
    ended = within(150, f"an end of each firing, {times} times,", ask)
    say(f"{len(ended)} series have come and gone, {sum(ended.values())} times in all, each {min(ended.values())} times or more; "
        f"4 always had trouble and 2 never")


def command_settled():
    # It has to hold without a break while notifications are repeated, that is until these have come.
    held = []

    def ask():
        try:
            fires = firing()
            if sorted(began()) != fires:
                raise NotYet("the Alertmanagers say other alerts fire than Prometheus does")
            for at in SKRANKES:
                differ(fires, open_tickets(at))
        except NotYet:
            held.clear()
            raise
        held.append((answered(), fires))
        if held[-1][0] < held[0][0] + 4:
            raise NotYet("no repeated notifications")
        return fires
    fires = within(90, "a ticket for each alert that fires, and no other open one,", ask)
    say(f"{len(fires)} alerts fire, and {len(fires)} tickets are open, one each, by both instances, through {held[-1][0] - held[0][0]} more notifications")


def command_silent():
    def ask():
        tickets = open_tickets(SKRANKES[0])
        if began() or tickets:
            raise NotYet(f"{len(began())} alerts fire, and {len(tickets)} tickets are open")
    within(60, "the end of all alerts", ask)
    say("the Alertmanagers have stopped to believe what they heard last, and no ticket is open")


def command_started(anew=None):
    def ask():
        since, tickets = began(), open_tickets(SKRANKES[0])
        differ(sorted(since), tickets)
        for _, (alert,) in tickets.values():
            if micros(alert["starts_at"]) != since[named(alert["labels"])]:
                raise NotYet(f"{named(alert['labels'])} starts at {alert['starts_at']}, and not when the Alertmanagers say")
        return since, {named(alert["labels"]): ticket for ticket, (alert,) in tickets.values()}
    since, tickets = within(60, "each alert with the startsAt of the Alertmanagers", ask)
    say(f"{len(since)} alerts have the starts_at of both Alertmanagers, to the microsecond")
    exact, ever = 0, firings()
    for name, ticket in tickets.items():
        reported = micros(ticket["reported_at"])
        exact += reported == since[name]
        # One that was reopened is as old as the first firing of it.
        if reported not in ever[name] or anew and reported != since[name] and not ticket["reopen_count"]:
            sys.exit(f"judge.py: ticket {ticket['number']} of {name} was reported at {ticket['reported_at']}, and its alert fires since another instant")
    say(f"{exact} of their tickets have that very instant as reported_at" + (
        f", and {len(tickets) - exact}, which were open or reopened, that of an earlier firing" if exact < len(tickets) else ""))


def command_once(was_silent=""):
    witnessed = firings()
    tickets = pages(SKRANKES[0], "/v1/tickets", sort="created_at")
    of = collections.defaultdict(list)
    for one in tickets:
        of[one["subject"]].append(one)
    for name, several in of.items():
        if name not in witnessed:
            sys.exit(f"judge.py: ticket {several[0]['number']} has the subject {name}, which no alert has had")
        reported = [micros(one["reported_at"]) for one in several]
        if len(set(reported)) < len(reported):
            sys.exit(f"judge.py: two tickets were opened for one firing of {name}: {[(one['number'], one['reported_at']) for one in several]}")
        # What was taken for over and fires as before is reported when it was over, not when it first began.
        if not was_silent and not set(reported) <= witnessed[name]:
            sys.exit(f"judge.py: a ticket of {name} was reported when no firing of it began: {[(one['number'], one['reported_at']) for one in several]}")
        if len(several) > 1 and not name.startswith(("QueueLong", "CertificateOld")):
            sys.exit(f"judge.py: {name} should have been reopened, and has {len(several)} tickets")
        for before, after in zip(several, several[1:]):
            if after["follow_up_of"] != before["id"]:
                sys.exit(f"judge.py: ticket {after['number']} of {name} follows {after['follow_up_of']} and not ticket {before['number']}, {before['id']}")
            if before["resolved_at"] is None or before["resolved_at"] > after["created_at"]:
                sys.exit(f"judge.py: ticket {after['number']} of {name} was opened before ticket {before['number']} was resolved")
    fired = sum(len(starts) for starts in witnessed.values())
    say(f"{fired} firings, {len(tickets)} tickets, {sum(one['reopen_count'] for one in tickets)} times reopened: none twice for one firing, "
        f"each reported at the microsecond in which a firing of its alert began")
    say(f"{sum(len(several) - 1 for several in of.values())} of them follow one of the same alert that was solved before they were opened")


def command_counted():
    now = balancer()
    for at, sender in now["senders"].items():
        say(f"sender at {at}: {sender['requests']} notifications; " + ", ".join(f"{times} {what}" for what, times in sorted(sender["fates"].items()))
            + "; answered " + ", ".join(f"{status}: {times}" for status, times in sorted(sender["answered"].items())))
        if set(sender["answered"]) - {"200", "503"}:
            sys.exit(f"judge.py: notifications were answered otherwise than 200 or 503: {sender['answered']}")
        if not sender["answered"].get("200"):
            sys.exit(f"judge.py: the Alertmanager at {at} was never answered 200")
    say("each instance has answered: " + ", ".join(f"{at}: {times}" for at, times in now["served"].items())
        + "; found dead: " + ", ".join(f"{at}: {times} times" for at, times in now["unreachable"].items()))
    fires, tickets = len(firing()), pages(SKRANKES[0], "/v1/tickets")
    expected = {"created": len(tickets), "reopened": sum(one["reopen_count"] for one in tickets)}
    for at in SKRANKES:
        lines, results = get(at, "/metrics", HEADERS | {"Accept": "text/plain"}).splitlines(), collections.Counter()
        gauge = sum(float(line.split()[-1]) for line in lines if line.startswith("skranke_alerts{") and 'state="firing"' in line)
        if gauge != fires:
            sys.exit(f"judge.py: skranke_alerts of {at} says that {gauge:g} fire, and not {fires}")
        for line in lines:
            if found := re.match(r'skranke_alerts_received_total\{.*result="(\w+)".*\} (\S+)', line):
                results[found[1]] += int(float(found[2]))
        if {what: results[what] for what in expected} != expected:
            sys.exit(f"judge.py: skranke_alerts_received_total of {at} says {dict(results)}, and the tickets say {expected}")
    say(f"the metrics of both instances say that {fires} fire, and have counted what the tickets say: "
        + ", ".join(f"{what} {times}" for what, times in sorted(results.items())))


globals()["command_" + sys.argv[1]](*sys.argv[2:])
