-- How far making the kept numbers and the search index anew has come: the stage that it is at, if it is at work or was cut
-- short, and how often numbers were put right. Of two who do so at once, one finds that the other was there.
CREATE TABLE rebuilds (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    stage TEXT CHECK (stage IN ('numbers', 'cells', 'words')),
    recounts INTEGER NOT NULL
);
INSERT INTO rebuilds (id, stage, recounts) VALUES (1, NULL, 0);

-- Whether what is there of cells, parts and the log of facts is to go before any is built.
ALTER TABLE cell_marks ADD COLUMN stale BOOLEAN NOT NULL DEFAULT FALSE CHECK (stale IN (0, 1));

-- The format in which cells, parts, the log and the facts of changes are packed: a version that packs them otherwise says so here.
ALTER TABLE cell_marks ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
