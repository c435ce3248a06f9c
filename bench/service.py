#!/usr/bin/env python3
"""How long the server takes for every page of a run of 100 000 programs, and what a dashboard that is open costs a search.

    python3 bench/service.py target/release/evolve --maker target/release/examples/make-history [--programs 100000]

Pages: the time from the request to the last byte, from outside, over one connection each; the first request to each kind of page and the
median of ten later ones. A search: the same run again and again in turn, alone and with a browser-like reader beside it that follows the
event stream and fetches the run's live parts as assets/live.js does.
"""

import argparse
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PAGES = [
    ("runs", "/"),
    ("a run", "/runs/1"),
    ("programs, newest first", "/runs/1/programs"),
    ("programs, best first", "/runs/1/programs?sort=best"),
    ("programs, of one kind", "/runs/1/programs?kind=timeout"),
    ("programs, of nobody", "/runs/1/programs?by=nobody"),
    ("a program", "/runs/1/programs/{last}"),
    ("the initial program", "/runs/1/programs/0"),
    ("difference", "/runs/1/programs/{last}/diff/0"),
    ("lineage", "/runs/1/lineage"),
    ("islands", "/runs/1/islands"),
    ("models", "/runs/1/models"),
    ("device", "/runs/1/device"),
    ("two programs", "/compare?a=1%2F5&b=1%2F{last}"),
    ("two runs", "/compare?a=1&b=1"),
    ("SQL", "/sql?q=SELECT%20kind%2C%20count(*)%20FROM%20outcome%20GROUP%20BY%20kind"),
    ("help", "/help"),
]
LIVE = ["now", "charts", "islands", "latest"]

CONFIG = "problem: problem\nproposer: rewrite\nmax_iterations: {iterations}\nsearch: {{ num_islands: 4 }}\n"
PROBLEM = """kind: command
name: number
description: find x
language: python
initial_program: initial.py
command: [awk, -f, evaluate.awk]
"""
PROGRAM = "# EVOLVE-BLOCK-START\nx = 10\ny = 3\nz = 7\n# EVOLVE-BLOCK-END\n"
JUDGE = '/^x = / { x = $3 }\nEND { d = x - 100; if (d < 0) d = -d; printf "{\\"score\\": %.6f}\\n", 1 / (1 + d / 100) }\n'


def project(folder, iterations):
    (folder / "problem").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(iterations=iterations))
    (folder / "problem/problem.yaml").write_text(PROBLEM)
    (folder / "problem/initial.py").write_text(PROGRAM)
    (folder / "problem/evaluate.awk").write_text(JUDGE)


class Server:
    def __init__(self, evolve, database):
        self.process = subprocess.Popen(
            [evolve, "serve", "--json", "--listen", "127.0.0.1:0", "--db", database], stdout=subprocess.PIPE, text=True)
        said = json.loads(self.process.stdout.readline())
        self.host = said["url"].split("//")[1].strip("/")

    def get(self, path):
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body[:300]}")
        return time.perf_counter() - begin, len(body)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def pages(arguments, folder):
    database = folder / "history.db"
    project(folder / "history", arguments.programs)
    print(f"writing a run of {arguments.programs} programs", flush=True)
    environment = dict(os.environ, HISTORY_CONFIG=str(folder / "history/config.yaml"))
    subprocess.run([arguments.maker, database, str(arguments.programs)], check=True, env=environment, stdout=subprocess.DEVNULL)
    print(f"the file has {database.stat().st_size / 1e6:.0f} MB\n")
    print("| page | first, ms | later (median of 10), ms | slowest of these | kB |\n|---|--:|--:|--:|--:|")
    server = Server(arguments.evolve, str(database))
    try:
        for name, path in PAGES:
            path = path.format(last=arguments.programs - 1)
            first, size = server.get(path)
            later = [server.get(path)[0] for _ in range(10)]
            print(f"| {name} | {first * 1e3:.0f} | {statistics.median(later) * 1e3:.1f} | {max(later) * 1e3:.1f} | {size / 1e3:.0f} |", flush=True)
        begin = time.perf_counter()
        connection = None
        while True:
            connection = http.client.HTTPConnection(server.host, timeout=60)
            connection.request("GET", "/runs/1/islands")
            body = connection.getresponse().read()
            if b"being worked out" not in body:
                break
            time.sleep(0.2)
        print(f"\nthe islands were there after {time.perf_counter() - begin:.1f} s more; a page with them:")
        later = [server.get("/runs/1/islands")[0] for _ in range(10)]
        print(f"{statistics.median(later) * 1e3:.1f} ms (median of 10)")
    finally:
        server.stop()


def reader(server, run, stop, counts):
    """What an open page does."""
    def follow():
        while not stop.is_set():
            try:
                connection = http.client.HTTPConnection(server.host, timeout=5)
                connection.request("GET", f"/api/v1/runs/{run}/events")
                answer = connection.getresponse()
                while not stop.is_set():
                    line = answer.readline()
                    if not line:
                        break
                    if line.startswith(b"event:"):
                        due.set()
                connection.close()
            except OSError:
                pass

    due = threading.Event()
    threading.Thread(target=follow, daemon=True).start()
    while not stop.is_set():
        if not due.wait(0.2):
            continue
        due.clear()
        begin = time.perf_counter()
        for part in LIVE:
            try:
                server.get(f"/runs/{run}?part={part}")
            except (OSError, http.client.HTTPException):
                return
        counts.append(time.perf_counter() - begin)
        stop.wait(max(1.0, 20 * (time.perf_counter() - begin)))


def search(arguments, folder):
    print(f"\na search of {arguments.iterations} proposals, {arguments.rounds} rounds, in turn alone and with a page open:", flush=True)
    speeds = {False: [], True: []}
    for round_number in range(arguments.rounds):
        for watched in ((False, True) if round_number % 2 == 0 else (True, False)):
            place = folder / f"search-{round_number}-{watched}"
            project(place, arguments.iterations)
            database = str(place / "evolve.db")
            subprocess.run([arguments.evolve, "run", "--config", "config.yaml", "--iterations", "1", "--db", database],
                           cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            server, stop, counts, thread = None, threading.Event(), [], None
            if watched:
                server = Server(arguments.evolve, database)
                thread = threading.Thread(target=reader, args=(server, 1, stop, counts), daemon=True)
                thread.start()
            begin = time.perf_counter()
            subprocess.run([arguments.evolve, "resume", "1", "--iterations", str(arguments.iterations), "--db", database],
                           cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds = time.perf_counter() - begin
            stop.set()
            if server:
                thread.join(timeout=10)
                server.stop()
            speeds[watched].append((arguments.iterations - 1) / seconds)
            words = f"with a page open ({len(counts)} refreshes)" if watched else "alone"
            print(f"  round {round_number + 1}: {speeds[watched][-1]:.1f} proposals/s {words}", flush=True)
    alone, watched = (statistics.median(speeds[it]) for it in (False, True))
    ratios = sorted(b / a for a, b in zip(speeds[False], speeds[True]))
    print(f"median {alone:.1f}/s alone, {watched:.1f}/s with a page open; ratio of each round's two: median {statistics.median(ratios):.3f}, "
          f"from {ratios[0]:.3f} to {ratios[-1]:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evolve")
    parser.add_argument("--maker", required=True)
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--iterations", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", choices=["pages", "search"])
    arguments = parser.parse_args()
    arguments.evolve = str(pathlib.Path(arguments.evolve).resolve())
    arguments.maker = str(pathlib.Path(arguments.maker).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if arguments.only != "search":
            pages(arguments, folder)
        if arguments.only != "pages":
            search(arguments, folder)


if __name__ == "__main__":
    main()
