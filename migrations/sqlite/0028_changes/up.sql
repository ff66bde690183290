-- The change log: every event gets a position, 1, 2, 3 and so on without a gap, in the transaction of the change. It refers to what
-- happened and copies nothing, so that what is erased there is gone here. No row is ever removed: the next position is one more than
-- the last, also where a transaction or a part of one was undone.
CREATE TABLE changes (
    position INTEGER PRIMARY KEY NOT NULL,
    event_id BLOB NOT NULL,
    -- When it got its position: it never falls.
    at INTEGER NOT NULL
);

-- The ticket's version right after the event. Events of before have none, and no position either.
ALTER TABLE events ADD COLUMN ticket_version INTEGER;
