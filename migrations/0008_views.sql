-- What pages and tables over a whole run read, in the order of its numbers, without the long rows: an index has all that they need.
CREATE INDEX proposal_facts ON proposal (
    run_id, number, parent, island, proposer, operator, model, cost, tokens_in, tokens_out, latency_ms, requests, repairs
);
CREATE INDEX outcome_facts ON outcome (run_id, number, kind, score, verdict);
CREATE INDEX evaluation_facts ON evaluation (run_id, purpose, sandbox);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('proposal', 'proposal_facts', '100000 20000 1 1 1 1 1 1 1 1 1 1 1 1'),
    ('outcome', 'outcome_facts', '100000 20000 1 1 1 1'),
    ('evaluation', 'evaluation_facts', '100000 20000 20000 10000');
