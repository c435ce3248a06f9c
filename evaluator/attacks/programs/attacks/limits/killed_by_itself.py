# title: kills itself by SIGKILL
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: a crash, after a second try

import os
import signal


def solve(numbers):
    os.kill(os.getpid(), signal.SIGKILL)
