-- The best programs of a run, best first and of equal ones the earliest, without a look at their rows.
DROP INDEX outcome_by_score;
CREATE INDEX outcome_by_score ON outcome (run_id, score DESC, number, verdict) WHERE score IS NOT NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('outcome', 'outcome_by_score', '60000 12000 2 1 1');
