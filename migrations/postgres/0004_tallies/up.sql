-- Numbers that are kept as tickets change, so that reading them costs the same however many tickets there are. `labels` is
-- a JSON array of the values of a series' labels, in the series' order; `hour` is hours since 1970, or 0.
CREATE TABLE tallies (
    series text COLLATE "C" NOT NULL,
    labels text COLLATE "C" NOT NULL,
    hour bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (series, labels, hour)
);

-- What changes have added since: one row for each, so that no two of them write the same row. They are folded into
-- `tallies` from time to time.
CREATE TABLE tally_deltas (
    id uuid PRIMARY KEY,
    deltas jsonb NOT NULL
);

-- What has happened before there were tallies, by the team that each ticket is in now; responses in calendar hours alone,
-- and service times from now on.
INSERT INTO tallies (series, labels, hour, n)
SELECT 'tickets', '["' || status || '","' || priority || '","' || coalesce(team_id::text, 'none') || '"]', 0, count(*)
FROM tickets GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'created', '["' || priority || '","' || coalesce(team_id::text, 'none') || '"]', 0, count(*)
FROM tickets GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'resolved', '["' || priority || '","' || coalesce(team_id::text, 'none') || '"]', 0,
    sum(reopen_count + CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END)
FROM tickets WHERE reopen_count > 0 OR resolved_at IS NOT NULL GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'reopened', '["' || priority || '","' || coalesce(team_id::text, 'none') || '"]', 0, sum(reopen_count)
FROM tickets WHERE reopen_count > 0 GROUP BY 2;

CREATE TEMPORARY TABLE responses AS
SELECT priority, floor(extract(epoch FROM started_at - reported_at))::bigint AS s FROM tickets WHERE started_at IS NOT NULL;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'response', '["' || priority || '","calendar","' || coalesce((SELECT min(column1) FROM (VALUES (16), (32), (64), (128),
    (256), (512), (1024), (2048), (4096), (8192), (16384), (32768), (65536), (131072), (262144), (524288), (1048576), (2097152),
    (4194304), (8388608)) AS bounds WHERE column1 >= s)::text, 'inf') || '"]', 0, count(*)
FROM responses GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'response', '["' || priority || '","calendar","sum"]', 0, sum(s) FROM responses GROUP BY 2 HAVING sum(s) > 0;
DROP TABLE responses;
