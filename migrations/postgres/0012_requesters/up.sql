-- A requester's tickets by where they stand, as those of an assignee: `what of mine is open` meets no others, however many
-- there were.
DROP INDEX tickets_by_requester;
CREATE INDEX tickets_by_requester ON tickets (requester_id, status, created_at, number);
