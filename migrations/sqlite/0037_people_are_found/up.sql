-- The words of the names and addresses of people, folded, by which they are found as somebody types; with their role, so that the
-- few who work here are found among the many who do not.
CREATE TABLE person_words (
    role TEXT NOT NULL CHECK (role IN ('requester', 'agent', 'admin')),
    word TEXT NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    PRIMARY KEY (role, word, principal_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_words_by_person ON person_words (principal_id);

-- People behind this id wait to be found; no row when none does. A job goes through them.
CREATE TABLE person_words_backlog (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    behind_id BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO person_words_backlog (id, behind_id)
SELECT 1, zeroblob(16) WHERE EXISTS (SELECT 1 FROM principals WHERE kind = 'person');

-- Tickets are found by the name and the address of their requester, by their number and by their external id: all are indexed anew,
-- and whoever gets another name or address waits for their tickets to be.
UPDATE words_marks SET format = 2;
DELETE FROM words_backlog;
INSERT INTO words_backlog (until_number, from_number, next_comment) SELECT max(number), 1, 0 FROM tickets HAVING max(number) IS NOT NULL;
DROP TRIGGER people_are_renamed;
CREATE TRIGGER people_are_renamed AFTER UPDATE OF name, email ON principals
WHEN (OLD.name <> NEW.name OR OLD.email IS NOT NEW.email) AND NEW.kind = 'person'
BEGIN
    INSERT INTO renamed_people (principal_id, renamed_at) VALUES (NEW.id, NEW.updated_at)
        ON CONFLICT (principal_id) DO UPDATE SET renamed_at = excluded.renamed_at;
END;
