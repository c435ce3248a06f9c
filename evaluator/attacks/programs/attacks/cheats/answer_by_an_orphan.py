# title: a child that outlives the program and writes later
# catalogue: 35 2
# fence: judge
# twin: bisection.py

import os
import time

if os.fork() == 0:
    os.setsid()
    time.sleep(0.5)
    os.write(1, b'[[1]]')
    os._exit(0)


def solve(numbers):
    os._exit(0)
