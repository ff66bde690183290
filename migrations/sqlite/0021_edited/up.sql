-- How many bytes of edits a ticket has had up to an event, with it. What was there before has 0: it is not counted.
ALTER TABLE events ADD COLUMN edited_b INTEGER NOT NULL DEFAULT 0;
