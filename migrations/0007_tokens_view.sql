-- The views with what 0005 added about a proposal's tokens.
DROP VIEW programs;
DROP VIEW proposals;

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
    proposal.tokens_cached,
    proposal.tokens_reasoning,
    proposal.tokens_estimated,
    proposal.cost,
    proposal.latency_ms / 1000.0 AS latency_seconds,
    proposal.requests,
    proposal.repairs,
    proposal.lesson,
    proposal.left_out,
    evaluation.protocol,
    evaluation.backend,
    evaluation.device,
    evaluation.mlx,
    evaluation.harness,
    evaluation.evaluator,
    evaluation.sandbox,
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
