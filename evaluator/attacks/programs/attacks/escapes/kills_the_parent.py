# title: its parents
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: no such process, or its own sandbox dies with it

import bisect
import os
import signal
import sys


def attempt():
    for pid in (os.getppid(), @VICTIM@):
        try:
            os.kill(pid, signal.SIGKILL)
            if pid == @VICTIM@:
                return "killed"
        except OSError:
            pass


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
