# title: stops itself by SIGSTOP
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the time limit
# waits: yes

import os
import signal


def solve(numbers):
    os.kill(os.getpid(), signal.SIGSTOP)
