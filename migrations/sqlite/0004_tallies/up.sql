-- Numbers that are kept as tickets change, so that reading them costs the same however many tickets there are. `labels` is
-- a JSON array of the values of a series' labels, in the series' order; `hour` is hours since 1970, or 0.
CREATE TABLE tallies (
    series TEXT NOT NULL,
    labels TEXT NOT NULL,
    hour INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (series, labels, hour)
) WITHOUT ROWID;

-- What changes have added since: one row for each, so that no two of them write the same row. They are folded into
-- `tallies` from time to time.
CREATE TABLE tally_deltas (
    id BLOB NOT NULL PRIMARY KEY,
    deltas TEXT NOT NULL
) WITHOUT ROWID;

-- What has happened before there were tallies, by the team that each ticket is in now; responses in calendar hours alone,
-- and service times from now on.
CREATE TEMPORARY TABLE told AS
SELECT status, priority, reopen_count, resolved_at, (started_at - reported_at) / 1000000 AS s,
    CASE WHEN team_id IS NULL THEN 'none' ELSE lower(substr(hex(team_id), 1, 8) || '-' || substr(hex(team_id), 9, 4) || '-'
        || substr(hex(team_id), 13, 4) || '-' || substr(hex(team_id), 17, 4) || '-' || substr(hex(team_id), 21)) END AS team
FROM tickets;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'tickets', '["' || status || '","' || priority || '","' || team || '"]', 0, count(*) FROM told GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'created', '["' || priority || '","' || team || '"]', 0, count(*) FROM told GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'resolved', '["' || priority || '","' || team || '"]', 0,
    sum(reopen_count + CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END)
FROM told WHERE reopen_count > 0 OR resolved_at IS NOT NULL GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'reopened', '["' || priority || '","' || team || '"]', 0, sum(reopen_count)
FROM told WHERE reopen_count > 0 GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'response', '["' || priority || '","calendar","' || coalesce((SELECT min(column1) FROM (VALUES (16), (32), (64), (128),
    (256), (512), (1024), (2048), (4096), (8192), (16384), (32768), (65536), (131072), (262144), (524288), (1048576), (2097152),
    (4194304), (8388608)) AS bounds WHERE column1 >= s), 'inf') || '"]', 0, count(*)
FROM told WHERE s IS NOT NULL GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'response', '["' || priority || '","calendar","sum"]', 0, sum(s) FROM told WHERE s IS NOT NULL GROUP BY 2 HAVING sum(s) > 0;
DROP TABLE told;
