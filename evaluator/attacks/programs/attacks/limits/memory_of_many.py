# title: fills memory in twelve processes
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the memory limit counts the whole tree

import os
import time


def solve(numbers):
    for _ in range(12):
        if os.fork() == 0:
            break
    hoard = bytearray(b"x") * (200 << 20)
    time.sleep(1000)
    return hoard
