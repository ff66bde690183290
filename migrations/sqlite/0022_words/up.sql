-- A comment's number on its ticket, by which its words are found. Comments of before have none until they are indexed again.
ALTER TABLE comments ADD COLUMN number INTEGER;
CREATE UNIQUE INDEX comments_number_key ON comments (ticket_id, number);

-- The words of a ticket and of each comment are documents of their own, so that a comment costs the comment. The number of a
-- document is that of the ticket, in the upper 40 bits, and the comment's. Before each word stands the shelf that the ticket is on:
-- its number without the lower 15 bits, in five hexadecimal digits. FTS5 ends a step of a merge only between two words, so none may
-- be in too many documents.
DROP TABLE ticket_words;
CREATE VIRTUAL TABLE ticket_words USING fts5(
    subject, body, comments, internal,
    content = '', contentless_delete = 1, tokenize = 'ascii tokenchars _'
);
-- Parts are merged by whoever puts words into the index and by a job, a little each time. FTS5 by itself does so for hundreds of
-- pages at once, and who writes meanwhile waits.
INSERT INTO ticket_words (ticket_words, rank) VALUES ('automerge', 0), ('crisismerge', 500);

-- Which tickets wait to be searchable: ranges of numbers, of which each is gone through from its end. Of the ticket at the end, the
-- comments with numbers from next_comment on wait; with 0, the ticket itself, too.
CREATE TABLE words_backlog (
    until_number INTEGER NOT NULL PRIMARY KEY,
    from_number INTEGER NOT NULL,
    next_comment INTEGER NOT NULL
);
INSERT INTO words_backlog (until_number, from_number, next_comment) SELECT max(number), 1, 0 FROM tickets HAVING max(number) IS NOT NULL;
-- Of the version before; a later one drops it.
DELETE FROM search_backlog;
