# title: forks without end
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: a limited number of processes, then the time limit

import os
import time


def solve(numbers):
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.2)
