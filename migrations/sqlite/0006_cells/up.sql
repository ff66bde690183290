-- What is known of tickets' past is added up once, so that a report costs the same however many tickets there are.
-- All of it is made of the rows of tickets, and can be made again: it holds every fact before the instants of
-- `cell_marks`, but for what `tally_deltas` has not handed over yet.

-- One row. Facts before `day` are in `fact_log` and in the cells of days; those before `month` and `year` in theirs.
-- Whoever writes cells writes this row first, so that two never do at once. `parts` is the last id of `cell_parts`.
CREATE TABLE cell_marks (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    day INTEGER NOT NULL,
    month INTEGER NOT NULL,
    year INTEGER NOT NULL,
    parts INTEGER NOT NULL
);
INSERT INTO cell_marks (id, day, month, year, parts) VALUES (1, 0, 0, 0, 0);

-- Facts one by one, in slices of ten minutes: `slice` counts them from 1970 on.
CREATE TABLE fact_log (
    slice INTEGER NOT NULL PRIMARY KEY,
    facts BLOB NOT NULL
);

-- What the facts of a day, month or year come to, which begins `day` days after 1970-01-01 (UTC): of the tickets whose
-- `axis` is `key`. All durations are there one by one: in `samples`, or in `cell_parts`, where `samples` says.
-- (Not WITHOUT ROWID: a search in such a table reads whole rows, however long, to compare their keys.)
CREATE TABLE cells (
    axis TEXT NOT NULL,
    level TEXT NOT NULL,
    day INTEGER NOT NULL,
    key TEXT NOT NULL,
    figures BLOB NOT NULL,
    samples BLOB NOT NULL,
    PRIMARY KEY (axis, level, day, key)
);
CREATE TABLE cell_parts (
    id INTEGER NOT NULL PRIMARY KEY,
    runs BLOB NOT NULL
);

-- The facts that a change takes away and puts in their place.
ALTER TABLE tally_deltas ADD COLUMN facts BLOB;
