-- Which of several instances is at a job, and until when.
CREATE TABLE job_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder BLOB NOT NULL,
    until INTEGER NOT NULL
);
