"""Whether OpenEvolve's examples run here as they are: each one's configuration is read and its initial program evaluated, by `evolve`
and by OpenEvolve's own Evaluator, several times each, so that the evaluator's own noise is known. Prints a table and ends with 1 if
one differs.

    compat.py --evolve PATH [--repeat 3] [--limit 300] [--only NAME] FOLDER [-- FLAGS FOR `evolve evaluate`]

Runs in an environment that has the package `openevolve` and whatever the examples import; what is missing is said. Nothing is written
into the folder.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# `evolve evaluate` evaluates a program whose score varies so often, to know how noisy it is.
EVALUATIONS = 6

# OpenEvolve's side, in a process of its own: a hang there can't be ended otherwise.
THEIRS = """
import asyncio, json, logging, sys
logging.disable(logging.CRITICAL)
from pathlib import Path
from openevolve.config import Config
from openevolve.evaluator import Evaluator
initial, evaluator, config = sys.argv[1:4]
settings = Config.from_yaml(config) if config else Config()
one = Evaluator(settings.evaluator, evaluator, suffix=Path(initial).suffix)
metrics = asyncio.run(one.evaluate_program(Path(initial).read_text(), "program"))
artifacts = one.get_pending_artifacts("program") or {}
with open(sys.argv[4], "w") as out:
    json.dump({"metrics": metrics, "artifacts": {str(k): str(v)[:4000] for k, v in artifacts.items()}}, out, default=str)
import os
os._exit(0)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=lambda text: Path(text).resolve())
    parser.add_argument("--evolve", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one evaluation")
    parser.add_argument("--only", action="append", default=[], help="part of an example's path")
    parser.add_argument("--json", type=Path, help="also write everything here")
    argv, flags = sys.argv[1:], []
    if "--" in argv:
        argv, flags = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    arguments = parser.parse_args(argv)
    try:
        import openevolve
    except ImportError:
        sys.exit("this interpreter has no package `openevolve`: `make compat` makes an environment that has it")
    examples = [e for e in find(arguments.folder) if not arguments.only or any(o in str(e[0]) for o in arguments.only)]
    if not examples:
        sys.exit(f"{arguments.folder} holds no example: a folder with an evaluator and an initial program")
    version = getattr(openevolve, "__version__", "?")
    print(f"{len(examples)} examples; OpenEvolve {version}; each evaluated {arguments.repeat} times by both", flush=True)
    print(row("example", "ours", "theirs", "verdict"), flush=True)
    records = []
    for name, initial, evaluator, configs in examples:
        record = examine(arguments, flags, initial, evaluator, configs)
        record["example"] = name
        records.append(record)
        print(row(name, record["ours"], record["theirs"], record["verdict"]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n")
    kinds = [record["kind"] for record in records]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"\n{counts}")
    sys.exit(1 if "different" in kinds or "refused" in kinds else 0)


def row(*cells):
    widths = (44, 26, 26)
    return " | ".join(str(cell).ljust(width) for cell, width in zip(cells, widths)) + " | " + str(cells[-1])


def find(folder):
    """Name, initial program, evaluator and configurations of every example below a folder."""
    found = []
    for place in sorted({path.parent for path in folder.rglob("*.py")}):
        evaluators = sorted(place.glob("evaluator*.py"))
        initials = sorted(p for p in place.glob("initial*") if p.is_file() and "dataset" not in p.name)
        if evaluators and initials:
            configs = sorted(place.glob("config*.y*ml"), key=lambda path: (path.stem != "config", path.name))
            found.append((str(place.relative_to(folder)), initials[0], evaluators[0], configs))
    return found


def examine(arguments, flags, initial, evaluator, configs):
    config = configs[0] if configs else None
    refused = None
    others = [ours(arguments, flags, initial, evaluator, other) for other in configs[1:]]
    for other, result in zip(configs[1:], others):
        if result["code"] == 2:
            refused = f"{other.name}: {result['words']}"
    our = [ours(arguments, flags, initial, evaluator, config) for _ in range(arguments.repeat)]
    if our[0]["code"] not in (0, 6, None):
        refused = our[0]["words"]
    their = [theirs(arguments, initial, evaluator, config) for _ in range(arguments.repeat)]
    record = {
        "config": str(config),
        "ours": shown(our),
        "theirs": shown(their),
        "our_results": our,
        "their_results": their,
    }
    if refused and "can't be loaded" in refused and not their[0]["metrics"]:
        return {**record, "kind": "same", "verdict": "can't be loaded by either: " + refused.rsplit(": ", 1)[-1]}
    if refused:
        return {**record, "kind": "refused", "verdict": "refused: " + refused}
    kind, verdict = compare(our, their)
    return {**record, "kind": kind, "verdict": verdict}


def ours(arguments, flags, initial, evaluator, config):
    command = [arguments.evolve, "evaluate", str(initial), str(evaluator), "--json", "--python", sys.executable, *flags]
    command += ["--config", str(config)] if config else []
    started, limit = time.monotonic(), EVALUATIONS * arguments.limit + 60
    try:
        # A temporary folder of its own: evolve processes that share one take turns at the machine.
        with tempfile.TemporaryDirectory() as place:
            environment = {**os.environ, "TMPDIR": place}
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        return {"code": None, "words": "no answer", "metrics": {}, "seconds": limit}
    seconds = time.monotonic() - started
    try:
        report = json.loads(done.stdout)
    except ValueError:
        words = (done.stderr.strip().splitlines() or ["?"])
        words = next((line for line in words if line.startswith("error")), words[-1])
        return {"code": done.returncode, "words": words[:300], "metrics": {}, "seconds": seconds}
    outcome = report["outcome"]
    words = outcome.get("message") or outcome.get("reason") or outcome["kind"]
    artifacts = {artifact["name"]: artifact["content"] for artifact in report["artifacts"]}
    return {
        "code": done.returncode,
        "words": " ".join(str(words).split())[:300],
        "metrics": outcome.get("metrics", {}),
        "artifacts": sorted(artifacts),
        "missing": missing(" ".join(artifacts.values()) + str(words)),
        "seconds": seconds,
    }


def theirs(arguments, initial, evaluator, config):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.json")
        command = [sys.executable, "-c", THEIRS, str(initial), str(evaluator), str(config or ""), out]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=arguments.limit + 60, cwd=folder, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return {"code": None, "words": "no answer", "metrics": {}, "seconds": arguments.limit}
        seconds = time.monotonic() - started
        if not os.path.exists(out):
            words = (done.stderr.strip().splitlines() or ["no result"])[-1]
            return {
                "code": done.returncode,
                "words": words[:300],
                "metrics": {},
                "missing": missing(done.stderr),
                "seconds": seconds,
            }
        with open(out) as file:
            result = json.load(file)
    # True and false are 1 and 0 here.
    metrics = {name: float(value) for name, value in result["metrics"].items() if is_number(value)}
    failed = "error" in metrics and "combined_score" not in metrics
    words = result["artifacts"].get("stderr") or result["artifacts"].get("error_type") or ""
    return {
        "code": 6 if failed else 0,
        "words": " ".join(words.split())[:300],
        "metrics": {} if failed else metrics,
        "artifacts": sorted(result["artifacts"]),
        "missing": missing(" ".join(result["artifacts"].values()) + done.stderr),
        "seconds": seconds,
    }


def is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)


def missing(text):
    mark = "No module named '"
    return text.split(mark, 1)[1].split("'", 1)[0] if mark in text else None


def shown(results):
    """The score, or the first metric, over all repetitions; or the failure."""
    values = []
    for name in ("combined_score", "score"):
        values = [r["metrics"][name] for r in results if name in r["metrics"]]
        if values:
            break
    if not values and results[0]["metrics"]:
        name = sorted(results[0]["metrics"])[0]
        values = [r["metrics"][name] for r in results if name in r["metrics"]]
        return f"{name} " + interval(values)
    return interval(values) if values else "failed"


def interval(values):
    low, high = min(values), max(values)
    return f"{low:.6g}" if low == high else f"{low:.5g}..{high:.5g}"


def compare(our, their):
    """Same metrics, each within the noise that the repetitions show."""
    packages = {r.get("missing") for r in our + their} - {None}
    if packages and not (our[0]["metrics"] and their[0]["metrics"]):
        return "not comparable", "needs the package " + ", ".join(sorted(packages))
    if not our[0]["metrics"] and not their[0]["metrics"]:
        if their[0]["code"] is None:
            return "not comparable", f"no answer from either within {their[0]['seconds']:.0f} s"
        return "same", f"fails with both: {(our[0]['words'] or their[0]['words'])[:90]}"
    if not our[0]["metrics"]:
        return "different", f"fails here only: {our[0]['words'][:160]}"
    if their[0]["code"] is None:
        return "no answer there", f"OpenEvolve gave none within {their[0]['seconds']:.0f} s"
    if not their[0]["metrics"]:
        return "different", f"fails there only: {their[0]['words'][:160]}"
    # A stage that a program reaches by luck: what one side always has, the other must have at least once.
    extra, lost = sorted(always(our) - ever(their)), sorted(always(their) - ever(our))
    if extra or lost:
        return "different", f"metrics here only: {extra}, there only: {lost}"
    noisy, timed = sorted((ever(our) | ever(their)) - (always(our) & always(their))), []
    for name in sorted(ever(our) & ever(their)):
        mine, other = values(our, name), values(their, name)
        if close(mine + other):
            continue
        if name not in noisy:
            noisy.append(name)
        # So far outside the other's range that three repetitions each don't explain it.
        spread = max(max(mine) - min(mine), max(other) - min(other))
        if spread == 0 or min(mine) > max(other) + 3 * spread or min(other) > max(mine) + 3 * spread:
            if not is_time(name) or close(other):
                return "different", f"{name}: {interval(mine)} here, {interval(other)} there"
            # A time that differs there too: a fresh process is colder than one that has evaluated before.
            noisy.remove(name)
            timed.append(f"{name} {interval(mine)} here, {interval(other)} there")
    if timed:
        return "same but for a time", "the same but for a time: " + "; ".join(timed)
    if noisy:
        return "same within noise", "same within its noise: " + ", ".join(noisy)
    return "same", "the same"


def is_time(name):
    return any(word in name.lower().split("_") for word in ("time", "seconds", "duration", "ms"))


def always(results):
    return set.intersection(*(set(r["metrics"]) for r in results))


def ever(results):
    return set.union(*(set(r["metrics"]) for r in results))


def values(results, name):
    return [r["metrics"][name] for r in results if name in r["metrics"]]


def close(numbers):
    scale = max(abs(number) for number in numbers)
    return max(numbers) - min(numbers) <= 1e-9 * max(scale, 1e-12)


if __name__ == "__main__":
    main()
