-- When somebody has to look whether a clock of the ticket is due soon. Those that an instance of the version before writes know of none,
-- and so are looked at at once.
ALTER TABLE ticket_clocks ADD COLUMN notice_at timestamptz;
UPDATE ticket_clocks SET notice_at = 'epoch'
WHERE (response_breach_at IS NOT NULL OR first_reply_breach_at IS NOT NULL OR service_breach_at IS NOT NULL)
    AND ticket_number IN (SELECT number FROM tickets WHERE status <> 'closed');
ALTER TABLE ticket_clocks ALTER COLUMN notice_at SET DEFAULT 'epoch';
CREATE INDEX ticket_clocks_by_notice ON ticket_clocks (notice_at, ticket_number) WHERE notice_at IS NOT NULL;

-- What is to be told, or was, of the promises about tickets that are not closed: each once.
CREATE TABLE sla_notices (
    ticket_number bigint NOT NULL REFERENCES tickets (number),
    target text COLLATE "C" NOT NULL CHECK (target IN ('response', 'first_reply', 'service')),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('due_soon', 'breached')),
    due_at timestamptz NOT NULL,
    told_at timestamptz,
    PRIMARY KEY (ticket_number, target, kind, due_at)
);
CREATE INDEX sla_notices_waiting ON sla_notices (due_at, ticket_number) WHERE told_at IS NULL;

-- The promise that an event is about: {"target", "due_at", "target_s", "policy_id"}.
ALTER TABLE events ADD COLUMN sla jsonb;
