#!/usr/bin/env python3
"""evolve and OpenEvolve side by side at the same work: a model that answers at once, an evaluator that does next to nothing, a program of 1.5 KB.

    python3 openevolve.py EVOLVE [--openevolve PYTHON] [--iterations 2000] [--workers 2] [--rounds 1]

EVOLVE is the program; PYTHON an interpreter that has `openevolve`. Both ask the same stub server, in turn, and are timed from outside: from the start of
the process to its end, and by the times at which their requests came. What is measured is what a search costs beside its model and its evaluator.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import EVALUATOR, PROGRAM, Stub, machine, own_place, run, spread, tenths

# OpenEvolve's own defaults, written out for both.
DATABASE = {"population_size": 1000, "archive_size": 100, "num_islands": 5}


def openevolve(python, stub, arguments, folder):
    """OpenEvolve's run; iterations that it did."""
    config = folder / "config.yaml"
    model = {"name": "stub", "api_base": f"{stub.address}/v1", "api_key": "none", "weight": 1.0}
    settings = {
        "max_iterations": arguments.iterations,
        "diff_based_evolution": False,
        "language": "python",
        "llm": {"models": [model], "api_base": f"{stub.address}/v1", "api_key": "none"},
        "database": DATABASE,
        "evaluator": {"parallel_evaluations": arguments.workers, "cascade_evaluation": False},
    }
    # JSON is YAML.
    config.write_text(json.dumps(settings))
    script = "import sys; from openevolve.cli import main; sys.exit(main())"
    command = [python, "-c", script, str(PROGRAM), str(EVALUATOR), "--config", str(config), "--output", str(folder / "output")]
    with open(folder / "said", "w") as said:
        seconds, memory, code = run(command, stdout=said, stderr=said, cwd=folder)
    log = (folder / "said").read_text()
    return seconds, memory, code, log.count("completed in ")


def evolve(program, stub, arguments, folder):
    """evolve's run; iterations that are in its database, evaluated."""
    (folder / "config.yaml").write_text(json.dumps(evolve_config(folder, stub, arguments)))
    with open(folder / "said", "w") as said:
        command = [program, "run", "--config", "config.yaml", "--json"]
        seconds, memory, code = run(command, stdout=said, stderr=subprocess.STDOUT, cwd=folder, env=own_place(folder))
    rows = sqlite3.connect(folder / "evolve.db").execute("SELECT count(*) FROM outcome WHERE number > 0 AND score IS NOT NULL")
    return seconds, memory, code, rows.fetchone()[0]


def evolve_config(folder, stub, arguments):
    """evolve's configuration for the same work, and its problem."""
    problem = {
        "kind": "command",
        "name": "stub",
        "language": "python",
        "initial_program": str(PROGRAM),
        "python": {"file": str(EVALUATOR), "interpreter": arguments.python},
        "parallel": arguments.workers,
    }
    (folder / "problem").mkdir(exist_ok=True)
    (folder / "problem" / "problem.yaml").write_text(json.dumps(problem))
    return {
        "problem": "problem",
        "proposer": "llm",
        "max_iterations": arguments.iterations,
        "lookahead": 32,
        "diff_based_evolution": False,
        "llm": {"api_base": f"{stub.address}/v1", "models": [{"name": "stub"}], "concurrency": 16},
        "search": DATABASE,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evolve", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--openevolve", metavar="PYTHON", help="without it only evolve runs")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of evolve's evaluator; default: this one")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="how often both are run, in turn")
    parser.add_argument("--keep", type=Path, help="keep evolve's folder here")
    arguments = parser.parse_args()
    print(f"{machine()}; Python {sys.version.split()[0]}")
    ratios = []
    for number in range(arguments.rounds):
        overall = {}
        for name in ["openevolve", "evolve"] if arguments.openevolve else ["evolve"]:
            with Stub() as stub, tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                if name == "evolve" and arguments.keep:
                    folder = arguments.keep / str(number)
                    folder.mkdir(parents=True)
                work = openevolve if name == "openevolve" else evolve
                program = arguments.openevolve if name == "openevolve" else arguments.evolve
                seconds, memory, code, done = work(program, stub, arguments, folder)
                rates = tenths(stub.times())
                if code != 0 or done < arguments.iterations * 0.99:
                    sys.exit(f"{name}: exit code {code}, {done} iterations done; it said:\n{(folder / 'said').read_text()[-2000:]}")
                overall[name] = done / seconds
                print(f"{name:>10}: {done} iterations in {seconds:.1f} s: {overall[name]:.1f}/s overall, start and end of the process included")
                print(f"{'':>10}  per tenth: {spread(rates)} (last/first {rates[-1] / rates[0]:.2f})")
                print(f"{'':>10}  processors' time: {memory.cpu / done * 1000:.2f} ms for each iteration, the stub server's not counted")
                print(f"{'':>10}  memory: {memory.words()}", flush=True)
        if len(overall) == 2:
            ratios.append(overall["evolve"] / overall["openevolve"])
            print(f"{'ratio':>10}: {ratios[-1]:.1f}", flush=True)
    if len(ratios) > 1:
        print(f"median ratio of {len(ratios)} rounds: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
