#!/usr/bin/env python3
"""Whether OpenEvolve's own package agrees with us: it loads what `evolve export` writes, and has no key of a configuration that our table lacks.

    package.py EVOLVE [--visualizer PATH/TO/OPENEVOLVE/scripts]

Runs in an environment that has the package `openevolve`. EVOLVE is the program. The package has no visualizer, so without its folder what that reads is
checked by what it reads: the islands' programs as files, their parents, metrics and prompts. With the folder (and Flask installed) its own loader is called.
"""

import argparse
import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from openevolve import config as theirs
from openevolve.database import ProgramDatabase

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "minimize"
ITERATIONS = 40


def table():
    """The keys of docs/openevolve.md, which a test keeps the same as the program's."""
    return set(re.findall(r"^\| `([a-z_.]+)` \| (?:used|instead|read by nobody there)\b", (ROOT / "docs" / "openevolve.md").read_text(), re.MULTILINE))


def keys():
    """Every key that the package's configuration has."""
    sections = {
        "": theirs.Config,
        "llm.": theirs.LLMConfig,
        "llm.models.": theirs.LLMModelConfig,
        "prompt.": theirs.PromptConfig,
        "database.": theirs.DatabaseConfig,
        "evaluator.": theirs.EvaluatorConfig,
        "evolution_trace.": theirs.EvolutionTraceConfig,
    }
    names = {prefix + field.name for prefix, section in sections.items() for field in dataclasses.fields(section) if not field.name.startswith("_")}
    return names - {prefix.rstrip(".") for prefix in sections if prefix.count(".") == 1}


def check_keys():
    ours, package = table(), keys()
    missing, extra = sorted(package - ours), sorted(ours - package)
    if missing or extra:
        return [f"keys that our table lacks: {missing}"] * bool(missing) + [f"keys that the package doesn't have: {extra}"] * bool(extra)
    print(f"keys: all {len(ours)} of the package are in our table, and no others")
    return []


def call(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def export(evolve, folder):
    """A run of ours as a checkpoint, and the numbers and scores of its programs."""
    db = folder / "evolve.db"
    files = [EXAMPLE / "initial_program.py", EXAMPLE / "evaluator.py"]
    call(evolve, "run", *files, "--proposer", "rewrite", "--iterations", ITERATIONS, "--output", folder / "output", "--python", sys.executable, "--db", db)
    checkpoint = folder / f"checkpoint_{ITERATIONS}"
    call(evolve, "export", 1, "--db", db, "--format", "openevolve", "--out", checkpoint)
    rows = json.loads(call(evolve, "query", "--db", db, "--sql", "SELECT number, score FROM programs", "--format", "json"))
    return checkpoint, {row["number"]: row["score"] for row in rows}


def check_database(checkpoint, programs):
    """What OpenEvolve's own database makes of it."""
    wrong = []
    database = ProgramDatabase(theirs.DatabaseConfig())
    database.load(str(checkpoint))
    if len(database.programs) != len(programs):
        wrong.append(f"{len(database.programs)} programs were loaded, not {len(programs)}")
    scores = sorted(program.metrics["combined_score"] for program in database.programs.values() if "combined_score" in program.metrics)
    expected = sorted(score for score in programs.values() if score is not None)
    if scores != expected:
        wrong.append("the scores aren't those of the run")
    best = database.get_best_program()
    if best is None or best.metrics["combined_score"] != expected[-1]:
        wrong.append(f"the best program isn't the run's, {expected[-1]}")
    lost = [program.id for program in database.programs.values() if program.parent_id and program.parent_id not in database.programs]
    if lost:
        wrong.append(f"programs whose parent is missing: {lost}")
    on_islands = set().union(*database.islands)
    if not on_islands <= set(database.programs):
        wrong.append("islands have programs that aren't there")
    database.sample()
    if not wrong:
        print(f"checkpoint: OpenEvolve's database has loaded {len(programs)} programs on {len(database.islands)} islands, its best is {expected[-1]:.6g}, and it draws parents from them")
    return wrong


def check_visualizer(checkpoint, visualizer):
    """What its visualizer makes of it."""
    meta = json.loads((checkpoint / "metadata.json").read_text())
    ids = {id for island in meta["islands"] for id in island}
    if visualizer:
        sys.path.insert(0, str(visualizer))
        import visualizer as loader

        data = loader.load_evolution_data(loader.find_latest_checkpoint(str(checkpoint.parent)))
        nodes = data["nodes"]
        edges = len(data["edges"])
    else:
        nodes = [json.loads((checkpoint / "programs" / f"{id}.json").read_text()) for id in sorted(ids)]
        edges = sum(node["parent_id"] in ids for node in nodes)
    wrong = []
    if {re.sub(r"-copy\d+$", "", node["id"]) for node in nodes} != ids:
        wrong.append("programs are missing in the visualizer")
    for node in nodes:
        numbers = [value for value in node["metrics"].values() if value is not None]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            wrong.append(f"{node['id']}: a metric is no number")
        # Its pages go through these.
        if not isinstance(node["metadata"], dict) or not isinstance(node["prompts"], dict) or not isinstance(node["code"], str):
            wrong.append(f"{node['id']}: metadata, prompts or code is missing")
    if not edges:
        wrong.append("no program has its parent in the visualizer")
    if not wrong:
        print(f"visualizer: {len(nodes)} nodes and {edges} edges" + ("" if visualizer else " (by what it reads; its own loader wasn't called)"))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evolve", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--visualizer", type=Path)
    arguments = parser.parse_args()
    wrong = check_keys()
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, programs = export(arguments.evolve, Path(temporary))
        wrong += check_database(checkpoint, programs)
        wrong += check_visualizer(checkpoint, arguments.visualizer)
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
