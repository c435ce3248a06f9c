-- The history of every run. A row is inserted once it is finished and never changes afterwards.
-- README.md beside this file describes tables and views for people who query them.
--
-- Times are milliseconds since the Unix epoch. Unsigned 64-bit seeds are stored as their two's complement.
-- Long texts are the last columns of their tables, so that scans of the others need not read them.

CREATE TABLE run (
    id         INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    title      TEXT    NOT NULL,
    problem    TEXT    NOT NULL,
    seed       INTEGER NOT NULL,
    lookahead  INTEGER NOT NULL CHECK (lookahead >= 1),
    -- As written, with ${VAR} unexpanded: it holds no secrets.
    config     TEXT    NOT NULL,
    -- Where it was read from: relative paths in it start at this file's folder.
    config_path TEXT   NOT NULL
) STRICT;

-- One process that worked on a run.
CREATE TABLE session (
    id         INTEGER PRIMARY KEY,
    run_id     INTEGER NOT NULL REFERENCES run (id),
    started_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    pid        INTEGER NOT NULL,
    version    TEXT    NOT NULL
) STRICT;

CREATE INDEX session_by_run ON session (run_id);

-- A session without one was killed, or still runs.
CREATE TABLE session_end (
    session_id INTEGER PRIMARY KEY REFERENCES session (id),
    ended_at   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    reason     TEXT    NOT NULL
) STRICT;

-- One attempt of a proposer, failed ones too, stored the moment its reply arrives. Number 0 is the initial program.
CREATE TABLE proposal (
    run_id       INTEGER NOT NULL REFERENCES run (id),
    number       INTEGER NOT NULL CHECK (number >= 0),
    created_at   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    island       INTEGER NOT NULL CHECK (island >= 0),
    parent       INTEGER CHECK (parent < number),
    proposer     TEXT    NOT NULL CHECK (proposer <> ''),
    operator     TEXT    NOT NULL,
    model        TEXT,
    tokens_in    INTEGER CHECK (tokens_in >= 0),
    tokens_out   INTEGER CHECK (tokens_out >= 0),
    cost         REAL    CHECK (cost >= 0),
    latency_ms   INTEGER NOT NULL CHECK (latency_ms >= 0),
    requests     INTEGER NOT NULL CHECK (requests >= 0),
    inspirations TEXT    NOT NULL CHECK (json_valid(inspirations) AND json_type(inspirations) = 'array'),
    prompt       TEXT,
    reply        TEXT,
    PRIMARY KEY (run_id, number),
    FOREIGN KEY (run_id, parent) REFERENCES program (run_id, number),
    CHECK ((number = 0) = (parent IS NULL))
) STRICT;

CREATE INDEX proposal_by_parent ON proposal (run_id, parent);
CREATE INDEX proposal_by_island ON proposal (run_id, island);
CREATE INDEX proposal_by_time ON proposal (run_id, created_at);

-- The source that a proposal led to.
CREATE TABLE program (
    run_id     INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 0),
    code_hash  TEXT    NOT NULL CHECK (code_hash <> ''),
    source     TEXT    NOT NULL,
    PRIMARY KEY (run_id, number),
    FOREIGN KEY (run_id, number) REFERENCES proposal (run_id, number)
) STRICT;

CREATE INDEX program_by_code_hash ON program (run_id, code_hash);

-- One measurement of a program: what measured it, and when.
CREATE TABLE evaluation (
    id         INTEGER PRIMARY KEY,
    run_id     INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    evaluator  TEXT    NOT NULL,
    harness    TEXT,
    mlx        TEXT,
    backend    TEXT,
    device     TEXT,
    protocol   TEXT    NOT NULL,
    parameters TEXT    NOT NULL CHECK (json_valid(parameters)),
    UNIQUE (run_id, number, id),
    FOREIGN KEY (run_id, number) REFERENCES program (run_id, number)
) STRICT;

-- One measured execution, failed ones too, in the order they ran.
CREATE TABLE trial (
    evaluation_id      INTEGER NOT NULL REFERENCES evaluation (id),
    idx                INTEGER NOT NULL CHECK (idx >= 0),
    stage              TEXT    NOT NULL,
    arm                TEXT    NOT NULL CHECK (arm <> ''),
    seed               INTEGER NOT NULL,
    started_at         INTEGER NOT NULL,
    ended_at           INTEGER NOT NULL,
    wall_seconds       REAL,
    exit               TEXT    NOT NULL CHECK (exit <> ''),
    tokens_per_second  REAL,
    peak_memory_bytes  INTEGER,
    process_peak_bytes INTEGER,
    train_loss         REAL,
    validation_loss    REAL,
    kernel             TEXT,
    kernel_layers      INTEGER,
    metrics            TEXT    NOT NULL CHECK (json_valid(metrics) AND json_type(metrics) = 'object'),
    message            TEXT,
    PRIMARY KEY (evaluation_id, idx)
) STRICT, WITHOUT ROWID;

-- Text that an evaluation leaves for people and for the next prompt.
CREATE TABLE artifact (
    evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
    idx           INTEGER NOT NULL CHECK (idx >= 0),
    name          TEXT    NOT NULL,
    content       TEXT    NOT NULL,
    PRIMARY KEY (evaluation_id, idx)
) STRICT;

-- How a proposal ended: exactly one row for each finished number. `outcome` is what search is told when a run resumes;
-- the generated columns are for queries and can't disagree with it. `message` says it in one plain line.
CREATE TABLE outcome (
    run_id        INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    evaluation_id INTEGER,
    kind          TEXT    NOT NULL GENERATED ALWAYS AS (outcome ->> '$.kind') STORED,
    score         REAL    GENERATED ALWAYS AS (outcome ->> '$.score') STORED,
    verdict       TEXT    GENERATED ALWAYS AS (outcome ->> '$.verdict') STORED,
    message       TEXT    NOT NULL,
    outcome       TEXT    NOT NULL CHECK (json_valid(outcome)),
    PRIMARY KEY (run_id, number),
    FOREIGN KEY (run_id, number) REFERENCES proposal (run_id, number),
    FOREIGN KEY (run_id, number, evaluation_id) REFERENCES evaluation (run_id, number, id),
    -- A failure is never a number, and a measurement always is one.
    CHECK ((kind = 'measured') = (score IS NOT NULL))
) STRICT;

CREATE INDEX outcome_by_score ON outcome (run_id, score) WHERE score IS NOT NULL;
CREATE INDEX outcome_by_kind ON outcome (run_id, kind);
CREATE INDEX outcome_by_time ON outcome (run_id, created_at);
CREATE UNIQUE INDEX outcome_by_evaluation ON outcome (evaluation_id) WHERE evaluation_id IS NOT NULL;

-- Finished rows never change.

CREATE TRIGGER run_update BEFORE UPDATE ON run
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER run_delete BEFORE DELETE ON run
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER session_update BEFORE UPDATE ON session
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER session_delete BEFORE DELETE ON session
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER session_end_update BEFORE UPDATE ON session_end
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER session_end_delete BEFORE DELETE ON session_end
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER proposal_update BEFORE UPDATE ON proposal
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER proposal_delete BEFORE DELETE ON proposal
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER program_update BEFORE UPDATE ON program
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER program_delete BEFORE DELETE ON program
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER evaluation_update BEFORE UPDATE ON evaluation
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER evaluation_delete BEFORE DELETE ON evaluation
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER trial_update BEFORE UPDATE ON trial
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER trial_delete BEFORE DELETE ON trial
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER artifact_update BEFORE UPDATE ON artifact
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER artifact_delete BEFORE DELETE ON artifact
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER outcome_update BEFORE UPDATE ON outcome
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER outcome_delete BEFORE DELETE ON outcome
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

-- An evaluation that has led to an outcome is complete.

CREATE TRIGGER trial_insert BEFORE INSERT ON trial
WHEN EXISTS (SELECT 1 FROM outcome WHERE evaluation_id = NEW.evaluation_id)
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER artifact_insert BEFORE INSERT ON artifact
WHEN EXISTS (SELECT 1 FROM outcome WHERE evaluation_id = NEW.evaluation_id)
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

-- For people: one row for each number of a run, whether or not it became a program.
CREATE VIEW proposals AS
SELECT
    proposal.run_id AS run,
    proposal.number,
    proposal.island,
    proposal.parent,
    program.generation,
    outcome.kind,
    outcome.score,
    outcome.verdict,
    outcome.message,
    proposal.proposer,
    proposal.operator,
    proposal.model,
    -- What the outcome was judged by; if it wasn't measured to the end, what its trials gave.
    coalesce(
        outcome.outcome ->> '$.metrics.tokens_per_second',
        (SELECT avg(trial.tokens_per_second) FROM trial
          WHERE trial.evaluation_id = outcome.evaluation_id AND trial.arm = 'candidate' AND trial.exit = 'ok')
    ) AS tokens_per_second,
    CAST(round(coalesce(
        outcome.outcome ->> '$.metrics.peak_memory_bytes',
        (SELECT avg(trial.peak_memory_bytes) FROM trial
          WHERE trial.evaluation_id = outcome.evaluation_id AND trial.arm = 'candidate' AND trial.exit = 'ok')
    )) AS INTEGER) AS peak_memory_bytes,
    coalesce(
        outcome.outcome ->> '$.metrics.validation_loss',
        (SELECT avg(trial.validation_loss) FROM trial
          WHERE trial.evaluation_id = outcome.evaluation_id AND trial.arm = 'candidate' AND trial.exit = 'ok')
    ) AS validation_loss,
    (SELECT count(*) FROM trial WHERE trial.evaluation_id = outcome.evaluation_id) AS trials,
    (evaluation.ended_at - evaluation.started_at) / 1000.0 AS evaluation_seconds,
    proposal.tokens_in,
    proposal.tokens_out,
    proposal.cost,
    proposal.latency_ms / 1000.0 AS latency_seconds,
    proposal.requests,
    evaluation.protocol,
    evaluation.backend,
    evaluation.device,
    evaluation.mlx,
    evaluation.harness,
    evaluation.evaluator,
    program.code_hash,
    strftime('%Y-%m-%dT%H:%M:%fZ', proposal.created_at / 1000.0, 'unixepoch') AS created_at,
    -- A JSON object of every metric; null unless measured to the end.
    outcome.outcome -> '$.metrics' AS metrics,
    program.source,
    proposal.prompt,
    proposal.reply
FROM proposal
LEFT JOIN program ON program.run_id = proposal.run_id AND program.number = proposal.number
LEFT JOIN outcome ON outcome.run_id = proposal.run_id AND outcome.number = proposal.number
LEFT JOIN evaluation ON evaluation.id = outcome.evaluation_id;

-- The same, for the numbers that became programs.
CREATE VIEW programs AS
SELECT * FROM proposals WHERE code_hash IS NOT NULL;

-- What `ANALYZE` would find in a large database: five runs of 20 000 proposals. Without it SQLite takes a run for ten
-- rows; and so its choice of indexes doesn't depend on when somebody last ran `ANALYZE`.
ANALYZE;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('proposal', 'sqlite_autoindex_proposal_1', '100000 20000 1'),
    ('proposal', 'proposal_by_parent', '100000 20000 4'),
    ('proposal', 'proposal_by_island', '100000 20000 5000'),
    ('proposal', 'proposal_by_time', '100000 20000 1'),
    ('program', 'sqlite_autoindex_program_1', '100000 20000 1'),
    ('program', 'program_by_code_hash', '100000 20000 1'),
    ('evaluation', 'sqlite_autoindex_evaluation_1', '100000 20000 1 1'),
    ('trial', 'trial', '1000000 10 1'),
    ('artifact', 'sqlite_autoindex_artifact_1', '100000 2 1'),
    ('outcome', 'sqlite_autoindex_outcome_1', '100000 20000 1'),
    ('outcome', 'outcome_by_score', '60000 12000 2'),
    ('outcome', 'outcome_by_kind', '100000 20000 2000'),
    ('outcome', 'outcome_by_time', '100000 20000 1'),
    ('outcome', 'outcome_by_evaluation', '80000 1');
