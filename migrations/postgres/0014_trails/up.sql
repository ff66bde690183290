-- A ticket's trail is in the order of a number on that ticket, which is told while nobody else is at work on it. What was there
-- before has 0, and is in the order of its ids.
ALTER TABLE events ADD COLUMN number bigint NOT NULL DEFAULT 0;
DROP INDEX events_by_ticket;
CREATE INDEX events_by_ticket ON events (ticket_id, number, id);

-- Instances of the version before know of no number: while both are at work, their events get one here.
CREATE FUNCTION number_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.number := (SELECT coalesce(max(number), 0) + 1 FROM events WHERE ticket_id = NEW.ticket_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER events_number BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.number = 0) EXECUTE FUNCTION number_event();
