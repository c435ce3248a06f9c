"""Whether the service keeps what its OpenAPI document promises: schemathesis against a real server with real runs.

No answer may be a server error, and none may have a status, a type or a body that the document doesn't name; what the document
forbids must be refused, and nothing may be answered without the token. Event streams never end, so they are left to
orchestrator/tests/service_runs.rs.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

TOKEN = "a-token-that-only-this-check-knows"

PROBLEM = """kind: command
name: number
description: find x
language: python
initial_program: initial.py
command: [awk, -f, evaluate.awk]
"""
PROGRAM = "# EVOLVE-BLOCK-START\nx = 10\n# EVOLVE-BLOCK-END\n"
EVALUATOR = '/^x = / { x = $3 }\nEND { d = x - 100; if (d < 0) d = -d; printf "{\\"score\\": %.6f}\\n", 1 / (1 + d / 100) }\n'


def project(folder: pathlib.Path) -> None:
    (folder / "problem").mkdir()
    (folder / "config.yaml").write_text("problem: problem\nproposer: rewrite\nmax_iterations: 8\n")
    (folder / "problem/problem.yaml").write_text(PROBLEM)
    (folder / "problem/initial.py").write_text(PROGRAM)
    (folder / "problem/evaluate.awk").write_text(EVALUATOR)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evolve", help="the program")
    parser.add_argument("--schemathesis", default="schemathesis", help="the tool")
    parser.add_argument("--examples", type=int, default=30, help="requests made up for each operation")
    parser.add_argument("--seed", type=int, default=1, help="what they are made up from")
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    arguments = parser.parse_args()
    if not shutil.which("awk"):
        sys.exit("awk is missing: install it (any awk will do)")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        project(folder)
        (folder / "token").write_text(TOKEN)
        evolve = str(pathlib.Path(arguments.evolve).resolve())
        subprocess.run([evolve, "run"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        serve = [evolve, "serve", "--json", "--listen", "127.0.0.1:0", "--token-file", "token", "--configs", "."]
        with open(folder / "server.log", "w+") as log:
            server = subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                said = json.loads(server.stdout.readline())
                check = [
                    arguments.schemathesis,
                    "run",
                    f"{said['api']}/openapi.json",
                    "--header", f"Authorization: Bearer {TOKEN}",
                    "--exclude-path-regex", "/events$",
                    # Any text is a valid value of `sql`, `filter` and `config`, and most are refused.
                    "--exclude-checks", "positive_data_acceptance",
                    "--phases", arguments.phases,
                    "--max-examples", str(arguments.examples),
                    "--seed", str(arguments.seed),
                    "--generation-database", "none",
                    "--request-timeout", "30",
                    "--workers", "2",
                    "--no-color",
                ]
                code = subprocess.run(check, cwd=folder).returncode
                if server.poll() is not None:
                    print("the server has ended by itself")
                    code = code or 1
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(10)
            log.seek(0)
            words = log.read()
            if "panicked" in words or "ERROR" in words:
                print(words)
                code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
