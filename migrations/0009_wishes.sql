-- What the process that works on a run was asked for from outside, while it worked. The last one of a session counts.
CREATE TABLE wish (
    id         INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES session (id),
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    wish       TEXT    NOT NULL CHECK (wish IN ('pause', 'stop'))
) STRICT;

CREATE INDEX wish_by_session ON wish (session_id);

CREATE TRIGGER wish_update BEFORE UPDATE ON wish
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
CREATE TRIGGER wish_delete BEFORE DELETE ON wish
BEGIN SELECT RAISE(ABORT, 'finished rows never change'); END;
