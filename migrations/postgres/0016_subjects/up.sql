-- What a kept answer tells of, so that whoever erases something finds the answers about it.
CREATE TABLE idempotency_subjects (
    principal_id uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    subject_id uuid NOT NULL,
    PRIMARY KEY (principal_id, key, subject_id),
    FOREIGN KEY (principal_id, key) REFERENCES idempotency_keys (principal_id, key) ON DELETE CASCADE
);
CREATE INDEX idempotency_subjects_by_subject ON idempotency_subjects (subject_id);

-- Not so for answers from before, and those of instances of the version before while both are at work.
ALTER TABLE idempotency_keys ADD COLUMN has_subjects boolean NOT NULL DEFAULT false;
CREATE INDEX idempotency_keys_without_subjects ON idempotency_keys (created_at) WHERE NOT has_subjects;
