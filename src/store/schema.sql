-- Schema version 2. Rows are only ever added: summaries are derived, nothing is updated or deleted.

-- A run; its facts and plan as they were when it started.
CREATE TABLE run (
    id         TEXT PRIMARY KEY,            -- UUID version 7: sorts by time
    started    TEXT NOT NULL,               -- RFC 3339, UTC
    version    TEXT NOT NULL,               -- of kvmtune
    experiment TEXT NOT NULL,               -- its name
    file       TEXT NOT NULL,               -- name of the experiment file as given
    text       TEXT NOT NULL,               -- the whole experiment file
    purpose    TEXT NOT NULL CHECK (json_valid(purpose)),  -- sweep, noise, confirm of a run, stage of several
    certificate TEXT CHECK (json_valid(certificate)),      -- what an A/A run said of this host; NULL without one
    protocol   TEXT NOT NULL CHECK (json_valid(protocol)), -- guest, workloads, responses, guards
    plan       TEXT NOT NULL CHECK (json_valid(plan)),
    facts      TEXT NOT NULL CHECK (json_valid(facts)),
    planned    INTEGER NOT NULL             -- trials of the plan, the discarded ones included
) STRICT;

-- The log, in the order in which things were stored.
CREATE TABLE event (
    id   INTEGER PRIMARY KEY,
    run  TEXT NOT NULL REFERENCES run (id),
    time TEXT NOT NULL,                     -- when it was stored
    kind TEXT NOT NULL CHECK (kind IN ('run-started', 'run-resumed', 'trial-finished', 'treatment-dropped', 'notice', 'run-finished')),
    body TEXT CHECK (json_valid(body))      -- NULL where the run or trial table has it
) STRICT;
CREATE INDEX event_of_run ON event (run, id);

CREATE TABLE trial (
    id          INTEGER PRIMARY KEY REFERENCES event (id),
    run         TEXT NOT NULL REFERENCES run (id),
    position    INTEGER NOT NULL,           -- order in the run, from 0
    block       INTEGER NOT NULL,           -- 0 is the discarded warm-up
    boot        INTEGER NOT NULL,           -- number of the guest start
    treatment   TEXT NOT NULL,
    started     TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('measured', 'unsteady', 'failed', 'invalid')),
    detail      TEXT CHECK (json_valid(detail)), -- numbers and message, stage and message, or drift; when measured, why it is suspect, or NULL
    total_ns    INTEGER NOT NULL,
    workload_ns INTEGER NOT NULL,
    apply_ns    INTEGER NOT NULL,
    verify_ns   INTEGER NOT NULL,
    restore_ns  INTEGER NOT NULL,
    UNIQUE (run, block, treatment),         -- a recorded trial is never repeated
    UNIQUE (run, position)
) STRICT;

CREATE TABLE observation (
    trial    INTEGER NOT NULL REFERENCES trial (id),
    number   INTEGER NOT NULL,              -- order in the trial, from 0
    workload TEXT NOT NULL,
    metric   TEXT NOT NULL,
    value    REAL NOT NULL CHECK (value > -9e999 AND value < 9e999), -- finite; NULL is how SQLite takes NaN
    PRIMARY KEY (trial, number)
) STRICT, WITHOUT ROWID;

-- What the tools printed.
CREATE TABLE raw (
    trial    INTEGER NOT NULL REFERENCES trial (id),
    number   INTEGER NOT NULL,
    workload TEXT NOT NULL,
    size     INTEGER NOT NULL,              -- bytes before compression
    content  BLOB NOT NULL,                 -- one zstd frame
    PRIMARY KEY (trial, number)
) STRICT;

-- For readers with sqlite3: the levels of each treatment.
CREATE VIEW level AS
    SELECT run.id AS run, t.value ->> 'id' AS treatment, l.value ->> 0 AS tunable, l.value ->> 1 AS level
    FROM run, json_each(run.plan, '$.treatments') AS t, json_each(t.value, '$.levels') AS l;

-- For readers with sqlite3: one row an observation, the warm-up block left out.
CREATE VIEW measurement AS
    SELECT trial.run, trial.block, trial.position, trial.treatment,
           observation.workload, observation.metric, observation.value
    FROM trial JOIN observation ON observation.trial = trial.id
    WHERE trial.block > 0;

PRAGMA application_id = 0x6b766d74;
PRAGMA user_version = 2;
