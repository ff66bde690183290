-- The format of the index of words: how a document is numbered and its words are written. A version that writes it otherwise says so here.
CREATE TABLE words_marks (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    format INTEGER NOT NULL
);
INSERT INTO words_marks (id, format) VALUES (1, 1);
