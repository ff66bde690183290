"""What Schemathesis cannot know of Skranke.

A JSON Schema says which requests are well-formed. It cannot say which teams there are, that one instant must come before
another, or which cursors were made here. The check of Schemathesis that valid requests are taken (positive_data_acceptance)
would call each such answer a finding, so `valid_requests_are_taken` stands in for it: it says the same, and lets pass an
error only if its code, or each of its fields' sentences, is in the tables below. Everything else stays a finding.
"""

import re

import schemathesis
from schemathesis.checks import CHECKS

# Codes that are about what is stored, not about how the request is written.
CODES = {
    "invalid_cursor",  # Cursors are opaque: only a list makes one that it takes.
    "version_mismatch",  # A well-formed entity tag of another version.
    "idempotency_key_reused",  # The same key with another request before.
}

# Sentences about fields that are well-formed, each with the reason that no schema can tell.
FIELDS = [
    # It names what does not exist, or what may not be named here.
    r"there is no such (person|team|ticket|calendar)|must be an active (person|agent or admin)",
    # It depends on who calls.
    r"is required of a service account",
    # The list of time zones is IANA's, and changes.
    r"must be a time zone of the IANA database such as .*",
    # No text may hold U+0000, which PostgreSQL stores nowhere; a schema would have to say so at every string and every key.
    r"must not contain the character U\+0000|must be UTF-8 without U\+0000",
    # It depends on another field, or on what is stored.
    r"must be before `to`, which is now unless said",
    r"must be later than from|must be at most 366 days later than from",
    r"cuts this window into more than 2000 steps: .*",
    r"relevance is an order of what `q` finds",
    r"is required by targets of business hours|the calendar has too little working time for it",
    r"is a second one for the same target and priority",
    r"a password is of no use without an email address to log in with",
    r"a requester does not work on tickets and has no hourly rate",
    r"is there twice",
    r"must not be the same as from; a whole day is 00:00 to 24:00",
    r"has shifts that overlap on this day, or with one that runs in from the day before",
    r"has no working time: give at least one shift on one weekday",
    # It depends on the clock.
    r"must not be in the future",
    # It is a limit for which JSON Schema has no word: of a time, of a number within text, of bytes of UTF-8.
    r"must be (an RFC 3339 time|a date) such as .*, from 1970 on",
    r"must be `breached` or `due_within:SECONDS`, such as .*, up to 31622400",
    r"must have at most \d+ bytes of UTF-8",
    # The whole body is in a format of its own.
    r"must be an iCalendar file \(RFC 5545\): .*",
]

# In a form of OAuth 2, which fields are needed depends on grant_type, and an empty one counts as left out (RFC 6749, 3.2).
FORM = r"is required|is given twice; separate several values by commas"


@schemathesis.check
def valid_requests_are_taken(ctx, response, case):
    """A request that the document allows is carried out, or refused for what no document can say."""
    if any(not part.mode.is_positive for part in case.meta.components.values()):
        # Where Schemathesis finds no valid value for a part, it sends one that is not, and still calls the whole valid.
        return None
    try:
        return CHECKS.get_one("positive_data_acceptance")(ctx, response, case)
    except AssertionError:
        problem = response.json()
        if problem["code"] in CODES:
            return None
        known = [*FIELDS, FORM] if case.operation.label == "POST /v1/auth/token" else FIELDS
        fields = problem.get("errors", [])
        if fields and all(any(re.fullmatch(one, field["detail"]) for one in known) for field in fields):
            return None
        raise
