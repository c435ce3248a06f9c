-- What the statistics were told and what they made of it: trials with their place in the run and the machine's state, every
-- look that was taken at a candidate, and comparisons of a program with somebody else's.

-- Number in the run of a trial that the protocol was told; null: it wasn't, or measured before trials were numbered.
ALTER TABLE trial ADD COLUMN trial_number INTEGER CHECK (trial_number >= 0);
ALTER TABLE trial ADD COLUMN pair INTEGER CHECK (pair >= 0);
ALTER TABLE trial ADD COLUMN reference_first INTEGER CHECK (reference_first IN (0, 1));
-- Numbers of the reference trials that it is compared with.
ALTER TABLE trial ADD COLUMN refs TEXT CHECK (json_valid(refs) AND json_type(refs) = 'array');
-- At its start, where the system tells: processes that want a core, over a minute, per core; degrees Celsius; MHz.
ALTER TABLE trial ADD COLUMN load REAL;
ALTER TABLE trial ADD COLUMN temperature REAL;
ALTER TABLE trial ADD COLUMN frequency REAL;
ALTER TABLE trial ADD COLUMN on_battery INTEGER CHECK (on_battery IN (0, 1));

ALTER TABLE evaluation ADD COLUMN purpose TEXT NOT NULL DEFAULT 'search' CHECK (purpose IN ('search', 'comparison'));
-- Whom a comparison compares the program with: the original `baseline`, or MLX-LM's own layer (`mlx_lm`).
ALTER TABLE evaluation ADD COLUMN opponent TEXT CHECK ((purpose = 'comparison') = (opponent IS NOT NULL));
-- The protocol's last word with all its numbers, as JSON; null: it came to none.
ALTER TABLE evaluation ADD COLUMN judgement TEXT CHECK (json_valid(judgement) AND json_type(judgement) = 'object');

-- One look of the protocol at one metric, or at what concerns none. Logarithms are natural ones, positive is better.
CREATE TABLE decision (
    evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
    idx           INTEGER NOT NULL CHECK (idx >= 0),
    stage         TEXT    NOT NULL,
    look          INTEGER NOT NULL CHECK (look >= 0),
    metric        TEXT,
    sigma         REAL,
    mean          REAL,
    log_e         REAL,
    confirmations INTEGER NOT NULL CHECK (confirmations >= 0),
    claims        INTEGER NOT NULL CHECK (claims >= 0),
    level         REAL,
    lower         REAL,
    upper         REAL,
    action        TEXT    NOT NULL CHECK (action <> ''),
    reason        TEXT    NOT NULL,
    refs          TEXT    NOT NULL CHECK (json_valid(refs) AND json_type(refs) = 'array'),
    PRIMARY KEY (evaluation_id, idx)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER decision_update BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER decision_delete BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

-- An evaluation is complete with its outcome. A comparison has none: its own row is written last.

DROP TRIGGER trial_insert;
DROP TRIGGER artifact_insert;

CREATE TRIGGER trial_insert BEFORE INSERT ON trial
WHEN EXISTS (SELECT 1 FROM outcome WHERE evaluation_id = NEW.evaluation_id)
  OR EXISTS (SELECT 1 FROM evaluation WHERE id = NEW.evaluation_id AND purpose = 'comparison')
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER artifact_insert BEFORE INSERT ON artifact
WHEN EXISTS (SELECT 1 FROM outcome WHERE evaluation_id = NEW.evaluation_id)
  OR EXISTS (SELECT 1 FROM evaluation WHERE id = NEW.evaluation_id AND purpose = 'comparison')
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER decision_insert BEFORE INSERT ON decision
WHEN EXISTS (SELECT 1 FROM outcome WHERE evaluation_id = NEW.evaluation_id)
  OR EXISTS (SELECT 1 FROM evaluation WHERE id = NEW.evaluation_id AND purpose = 'comparison')
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;

CREATE TRIGGER outcome_insert BEFORE INSERT ON outcome
WHEN EXISTS (SELECT 1 FROM evaluation WHERE id = NEW.evaluation_id AND purpose = 'comparison')
BEGIN SELECT RAISE(ABORT, 'a comparison leads to no outcome'); END;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('decision', 'decision', '600000 6 1');
