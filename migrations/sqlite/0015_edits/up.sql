-- Edits of policies and calendars are numbered. A ticket tells which of them its clocks have followed last; an edit stays, with
-- all that held from its instant on, until every ticket that is not closed has followed it.
ALTER TABLE configuration ADD COLUMN edit INTEGER NOT NULL DEFAULT 0;
CREATE TABLE configuration_edits (
    number INTEGER NOT NULL PRIMARY KEY,
    generation BLOB NOT NULL,
    edited_at INTEGER NOT NULL,
    contents TEXT NOT NULL
);
ALTER TABLE tickets ADD COLUMN followed_edit INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tickets_by_edit ON tickets (followed_edit, number) WHERE status <> 'closed';
DROP INDEX tickets_unclosed;
