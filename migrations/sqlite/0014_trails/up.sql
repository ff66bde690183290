-- A ticket's trail is in the order of a number on that ticket, which is told while nobody else is at work on it. What was there
-- before has 0, and is in the order of its ids.
ALTER TABLE events ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
DROP INDEX events_by_ticket;
CREATE INDEX events_by_ticket ON events (ticket_id, number, id);
