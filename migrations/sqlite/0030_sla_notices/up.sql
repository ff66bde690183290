-- When somebody has to look whether a clock of the ticket is due soon.
ALTER TABLE ticket_clocks ADD COLUMN notice_at INTEGER;
UPDATE ticket_clocks SET notice_at = 0
WHERE (response_breach_at IS NOT NULL OR first_reply_breach_at IS NOT NULL OR service_breach_at IS NOT NULL)
    AND ticket_number IN (SELECT number FROM tickets WHERE status <> 'closed');
CREATE INDEX ticket_clocks_by_notice ON ticket_clocks (notice_at, ticket_number) WHERE notice_at IS NOT NULL;

-- What is to be told, or was, of the promises about tickets that are not closed: each once.
CREATE TABLE sla_notices (
    ticket_number INTEGER NOT NULL REFERENCES tickets (number),
    target TEXT NOT NULL CHECK (target IN ('response', 'first_reply', 'service')),
    kind TEXT NOT NULL CHECK (kind IN ('due_soon', 'breached')),
    due_at INTEGER NOT NULL,
    told_at INTEGER,
    PRIMARY KEY (ticket_number, target, kind, due_at)
) WITHOUT ROWID;
CREATE INDEX sla_notices_waiting ON sla_notices (due_at, ticket_number) WHERE told_at IS NULL;

-- The promise that an event is about: {"target", "due_at", "target_s", "policy_id"}.
ALTER TABLE events ADD COLUMN sla TEXT;
