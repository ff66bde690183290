-- Which of several instances is at a job, and until when.
CREATE TABLE job_leases (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    holder uuid NOT NULL,
    until timestamptz NOT NULL
);
