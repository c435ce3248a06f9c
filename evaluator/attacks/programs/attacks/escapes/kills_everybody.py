# title: all processes at once
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: only its own sandbox dies

import bisect
import os
import signal
import sys


def attempt():
    os.kill(-1, signal.SIGKILL)


def tried():
    try:
        got = attempt()
    except Exception as failure:
        print("failed:", failure, file=sys.stderr)
    else:
        if got:
            print("ESC" + "APED:", got, file=sys.stderr)


tried()


def solve(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths
