-- The change log: every event gets a position, 1, 2, 3 and so on without a gap. It refers to what happened and copies nothing, so that
-- what is erased there is gone here. No row is ever removed.
CREATE TABLE changes (
    position bigint PRIMARY KEY,
    event_id uuid NOT NULL,
    -- When it got its position: it never falls.
    at timestamptz NOT NULL
);

-- What was committed and has no position yet. Writers add to it and wait for nobody. Whoever numbers takes the rows away by ascending
-- arrival: of two transactions of which one began after the other was committed, it has the larger.
CREATE TABLE change_inbox (
    arrival bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The ticket's version right after the event. Events of before have none, and no position either.
ALTER TABLE events ADD COLUMN ticket_version bigint;

-- An instance of the version before, which goes on while others are replaced, knows nothing of all this.
CREATE FUNCTION log_event_of_older_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ticket_version := (SELECT version FROM tickets WHERE id = NEW.ticket_id);
    INSERT INTO change_inbox (event_id) VALUES (NEW.id);
    RETURN NEW;
END
$$;
CREATE TRIGGER events_of_older_version BEFORE INSERT ON events
    FOR EACH ROW WHEN (NEW.ticket_version IS NULL) EXECUTE FUNCTION log_event_of_older_version();
