#!/usr/bin/env python3
"""Candidates whose true effect is known, through real searches: how often are they called better?

    python3 known_effects.py EVOLVE --out DIR                      # 200 copies of the initial kernel: A/A
    python3 known_effects.py EVOLVE --out DIR --effect speed:0.1   # the initial program is slower, the candidates aren't: A/B
    python3 known_effects.py EVOLVE --out DIR --effect memory:0.05 # it keeps so much more memory
    ... --candidates 20
    ... --summary                                                  # runs nothing: what DIR's database says by now

EVOLVE is the program. Candidates are the default problem's initial kernel with other names and comments, each new to the search, which therefore measures
every one (as a search measures candidates: several builds at once, one trial at a time). For A/B nothing is promoted, so that each candidate meets the
same reference. Prints one JSON object; the database stays in DIR.
"""

import argparse
import json
import math
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path

PROBLEM = Path(__file__).resolve().parent.parent / "problems" / "quantized-lora"
# Of the default problem on the CPU: calls of a kernel in the measured steps of a trial, its seconds, its layers, its peak.
CALLS, SECONDS, LAYERS, PEAK = 140, 0.65, 14, 13.4e6
# Seconds of one turn of the loop below: a dependent multiplication and addition.
TURN = 2.6e-9


def interval(successes, trials, confidence=0.95):
    """Clopper and Pearson's, by bisection on the binomial distribution."""

    def at_most(k, p):
        return sum(math.comb(trials, i) * p**i * (1 - p) ** (trials - i) for i in range(k + 1))

    def solve(rises):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if rises(middle) else (low, middle)
        return low

    tail = (1 - confidence) / 2
    lower = 0.0 if successes == 0 else solve(lambda p: 1 - at_most(successes - 1, p) < tail)
    upper = 1.0 if successes == trials else solve(lambda p: at_most(successes, p) > tail)
    return lower, upper


def handicapped(source, effect):
    """The initial program with a cost of known size."""
    if effect is None:
        return source
    kind, share = effect
    if kind == "speed":
        turns = int(share * SECONDS / CALLS / TURN)
        work = f"""        let mut idle = self.scale;
        for _ in 0..{turns}_u32 {{
            idle = idle * 0.999 + 0.001;
        }}
        assert!(idle.is_finite());
"""
        place = "        let weight = self.weight.dequantize()?;\n"
        return replaced(source, place, work + place)
    elements = int(share * PEAK / LAYERS / 4)
    source = replaced(source, "    scale: f32,\n}", "    scale: f32,\n    ballast: Array,\n}")
    built = "Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })"
    ballast = f"""let ballast = ops::zeros(&[{elements}], Dtype::Float32)?;
        ballast.eval()?;
        Ok(Self {{ weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale, ballast }})"""
    source = replaced(source, built, ballast)
    place = "        let weight = self.weight.dequantize()?;\n"
    return replaced(source, place, "        assert!(self.ballast.ndim() == 1);\n" + place)


def replaced(source, old, new):
    assert source.count(old) == 1, f"the initial program has no longer: {old}"
    return source.replace(old, new)


def candidate(source, number):
    """The same program by other names."""
    names = {"weight.t()": f"unpacked_{number}.t()", "let weight =": f"let unpacked_{number} =", "let z =": f"let low_{number} ="}
    for old, new in {**names, "y.add(&(z * ": f"y.add(&(low_{number} * "}.items():
        source = replaced(source, old, new)
    return source.replace("// EVOLVE-BLOCK-END", f"// Number {number}.\n// EVOLVE-BLOCK-END")


def measured(database):
    """What the trials themselves say: ln(candidate's speed / reference's) of each pair, and the noise of a reference trial, robustly."""
    trials = database.execute(
        """SELECT evaluation_id, pair, arm, stage, tokens_per_second FROM trial
           WHERE trial_number IS NOT NULL AND tokens_per_second > 0 ORDER BY trial_number"""
    ).fetchall()
    pairs = {}
    for evaluation, pair, arm, stage, speed in trials:
        if stage == "confirm":
            pairs.setdefault((evaluation, pair), {})[arm] = math.log(speed)
    differences = [pair["candidate"] - pair["reference"] for pair in pairs.values() if len(pair) == 2]
    references = [math.log(speed) for _, _, arm, _, speed in trials if arm == "reference"]
    steps = [abs(after - before) for before, after in zip(references, references[1:])]
    return differences, 1.0484 * statistics.median(steps) if steps else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evolve", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--effect", help="speed:SHARE or memory:SHARE")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    effect = None
    if arguments.effect:
        kind, share = arguments.effect.split(":")
        if kind not in ("speed", "memory"):
            sys.exit("--effect is speed:SHARE or memory:SHARE")
        effect = kind, float(share)

    if not arguments.summary:
        search(arguments.evolve, arguments.out, effect, arguments.candidates)
    summary(arguments.out / "evolve.db", arguments.effect)


def search(evolve, folder, effect, candidates):
    (folder / "problem" / "data").mkdir(parents=True)
    source = (PROBLEM / "initial.rs").read_text()
    (folder / "problem" / "initial.rs").write_text(handicapped(source, effect))
    for file in (PROBLEM / "data").iterdir():
        (folder / "problem" / "data" / file.name).write_bytes(file.read_bytes())
    settings = (PROBLEM / "problem.yaml").read_text()
    if effect:
        settings = replaced(settings, "\nprotocol: race-confirm\n", "\nprotocol: {race-confirm: {promote: false}}\n")
    (folder / "problem" / "problem.yaml").write_text(settings)
    replies = (json.dumps({"reply": f"```rust\n{candidate(source, n)}```"}) for n in range(1, candidates + 1))
    (folder / "replies.jsonl").write_text("\n".join(replies))
    (folder / "config.yaml").write_text(
        f"problem: problem\nproposer: {{replay: replies.jsonl}}\nmax_iterations: {candidates}\nlookahead: 4\nfinal_report: false\n"
    )
    subprocess.run([evolve, "run", "--config", folder / "config.yaml"], check=True, stdout=subprocess.DEVNULL)


def summary(path, effect):
    database = sqlite3.connect(path)
    rows = database.execute(
        """SELECT o.kind, o.verdict, e.judgement ->> '$.claim' IS NOT NULL,
                  (SELECT count(*) FROM trial t WHERE t.evaluation_id = e.id),
                  (SELECT count(*) FROM trial t WHERE t.evaluation_id = e.id AND stage = 'confirm') > 0
           FROM outcome o LEFT JOIN evaluation e ON e.id = o.evaluation_id WHERE o.number > 0"""
    ).fetchall()
    claims = sum(row[2] or 0 for row in rows)
    differences, noise = measured(database)
    low, high = interval(claims, len(rows))
    print(json.dumps({
        "effect": effect or "none",
        "candidates": len(rows),
        "outcomes": {kind: sum(row[0] == kind for row in rows) for kind in sorted({row[0] for row in rows})},
        "verdicts": {str(verdict): sum(row[1] == verdict for row in rows) for verdict in {row[1] for row in rows}},
        "claimed": claims,
        "claimed_95_percent": [round(low, 4), round(high, 4)],
        "confirmations": sum(row[4] or 0 for row in rows),
        # Of ln speed, from all pairs; one trial's standard deviation, from the reference's successive trials.
        "pairs": len(differences),
        "speed_effect": round(statistics.median(differences), 4) if differences else None,
        "speed_noise": round(noise, 4),
        "trials_per_candidate": round(sum(row[3] or 0 for row in rows) / max(len(rows), 1), 2),
    }))


main()
