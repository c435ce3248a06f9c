"""Compiles a candidate with the harness, runs it, and passes on the JSON that it prints: evaluate.py PROGRAM"""

import os
import subprocess
import sys

HARNESS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness.rs")
CANDIDATE = os.path.abspath(sys.argv[1])

compiled = subprocess.run(
    ["rustc", "--edition", "2021", "-O", "--cap-lints", "allow", "-o", "harness", HARNESS],
    env={**os.environ, "CANDIDATE": CANDIDATE},
    stderr=subprocess.PIPE,
    text=True,
)
if compiled.returncode != 0:
    sys.exit("it doesn't compile:\n" + compiled.stderr[-4000:])
sys.exit(subprocess.run(["./harness"]).returncode)
