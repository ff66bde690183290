-- A comment's number on its ticket, by which its words are found. Comments of before have none until they are indexed again.
ALTER TABLE comments ADD COLUMN number bigint;
CREATE UNIQUE INDEX comments_number_key ON comments (ticket_id, number);

-- The words of a ticket, under 0, and of each of its comments, under its number, so that a comment costs the comment. The weights A
-- to D stand for subject, body (tags and description), public and internal comments.
CREATE TABLE ticket_lexemes (
    ticket_number bigint NOT NULL,
    ordinal bigint NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (ticket_number, ordinal)
);
CREATE INDEX ticket_lexemes_by_word ON ticket_lexemes USING gin (words) WITH (fastupdate = on, gin_pending_list_limit = 128);

-- Which tickets wait to be searchable: ranges of numbers, of which each is gone through from its end. Of the ticket at the end, the
-- comments with numbers from next_comment on wait; with 0, the ticket itself, too.
CREATE TABLE words_backlog (
    until_number bigint PRIMARY KEY,
    from_number bigint NOT NULL,
    next_comment bigint NOT NULL
);
INSERT INTO words_backlog (until_number, from_number, next_comment) SELECT max(number), 1, 0 FROM tickets HAVING max(number) IS NOT NULL;

-- Instances of the version before know of none of this. While both are at work, their comments get a number here, and what they
-- would have indexed waits for one of the new version. What they search is empty; a later version drops it.
CREATE FUNCTION number_comment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.number := (SELECT coalesce(max(number), 0) + 1 FROM comments WHERE ticket_id = NEW.ticket_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER comments_number BEFORE INSERT ON comments FOR EACH ROW WHEN (NEW.number IS NULL) EXECUTE FUNCTION number_comment();
CREATE FUNCTION index_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO words_backlog (until_number, from_number, next_comment) VALUES (NEW.ticket_number, NEW.ticket_number, 0)
    ON CONFLICT (until_number) DO UPDATE SET next_comment = 0;
    RETURN NULL;
END
$$;
TRUNCATE ticket_search;
CREATE TRIGGER ticket_search_later BEFORE INSERT ON ticket_search FOR EACH ROW EXECUTE FUNCTION index_later();
DELETE FROM search_backlog;
