-- The words of each ticket, by its number, as the program has folded them: separated by spaces, so that nothing is left to
-- the tokenizer. The texts themselves stay where they are.
CREATE VIRTUAL TABLE ticket_words USING fts5(
    subject, body, comments, internal,
    content = '', contentless_delete = 1, tokenize = 'ascii tokenchars _'
);

-- Until which number tickets wait to be searchable: one row, and none when nothing waits.
CREATE TABLE search_backlog (until_number INTEGER NOT NULL PRIMARY KEY);
INSERT INTO search_backlog (until_number) SELECT max(number) FROM tickets HAVING max(number) IS NOT NULL;
