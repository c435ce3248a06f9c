#!/usr/bin/env python3
"""How near to the ideal many slow model calls are kept under way, with few and with many programs in the database; and how soon a run goes on.

    python3 pipeline.py EVOLVE [--programs 1000 20000 50000] [--latency 0.5] [--in-flight 16] [--seconds 60]

EVOLVE is the program. For each size a run is made with a stub server that answers at once; then it is resumed while the same server takes its time for
each answer. With 16 calls in flight of 0.5 s each, 32 proposals per second are the most that anybody could get. `first request` is the time from the start of
`evolve resume` until it asks the model for something new: everything stored has been read and told to the search by then.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Stub, machine, own_place, run
from openevolve import evolve_config

# Left out at the beginning: requests that start together also end together at first.
RAMP = 3.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evolve", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--programs", type=int, nargs="+", default=[1000, 20000, 50000])
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(machine())
    ideal = arguments.in_flight / arguments.latency
    with tempfile.TemporaryDirectory() as temporary, Stub() as stub:
        folder = Path(temporary)
        config = evolve_config(folder, stub, argparse.Namespace(iterations=0, workers=2, python=sys.executable))
        config["llm"]["concurrency"] = arguments.in_flight
        config["lookahead"] = 2 * arguments.in_flight
        (folder / "config.yaml").write_text(json.dumps(config))
        verb = "run"
        for programs in sorted(arguments.programs):
            stub.set_latency(0)
            session(arguments.evolve, verb, programs, folder)
            verb = "resume"
            stub.set_latency(arguments.latency)
            before, begun = len(stub.times()), time.monotonic()
            last = programs + round(ideal * (arguments.seconds + RAMP))
            memory = session(arguments.evolve, "resume", last, folder)
            times = stub.times()[before:]
            counted = [at for at in times if at >= times[0] + RAMP]
            rate = (len(counted) - 1) / (counted[-1] - counted[0])
            print(f"{programs:>7} programs: {rate:.2f} proposals/s of {ideal:.0f} ideal ({rate / ideal:.1%}); first request after {times[0] - begun:.2f} s")
            print(f"{'':>7} memory: {memory.words()}", flush=True)
        rows = sqlite3.connect(folder / "evolve.db").execute("SELECT count(*), count(DISTINCT number) FROM outcome WHERE score IS NOT NULL")
        print(f"evaluated: {rows.fetchone()[0]}; database: {(folder / 'evolve.db').stat().st_size / 1e6:.0f} MB")


def session(evolve, verb, iterations, folder):
    """One session up to so many iterations in all."""
    command = [evolve, verb, "--json", "--iterations", str(iterations)]
    command += ["--config", "config.yaml"] if verb == "run" else ["--db", "evolve.db"]
    with open(folder / "said", "w") as said:
        _, memory, code = run(command, stdout=said, stderr=subprocess.STDOUT, cwd=folder, env=own_place(folder))
    if code != 0:
        sys.exit(f"evolve {verb}: exit code {code}; it said:\n{(folder / 'said').read_text()[-2000:]}")
    return memory


if __name__ == "__main__":
    main()
