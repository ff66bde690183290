-- The words of each ticket, by its number, as the program has folded them, with their places; the weights A to D stand for
-- subject, body (tags and description), public and internal comments. Apart from the tickets, whose rows stay narrow and
-- change in place.
CREATE TABLE ticket_search (
    ticket_number bigint PRIMARY KEY,
    words tsvector NOT NULL
);
-- New words wait in a list that each search reads, until it is so long.
CREATE INDEX ticket_search_by_word ON ticket_search USING gin (words) WITH (fastupdate = on, gin_pending_list_limit = 512);

-- Until which number tickets wait to be searchable: one row, and none when nothing waits.
CREATE TABLE search_backlog (until_number bigint PRIMARY KEY);
INSERT INTO search_backlog (until_number) SELECT max(number) FROM tickets HAVING max(number) IS NOT NULL;
