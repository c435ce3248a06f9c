# title: a process that stays
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: dies with the program

import bisect
import os
import sys
import time


def attempt():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (0, 1, 2):
                os.close(number)
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "@MARK@"])
        os._exit(0)
    time.sleep(0.3)


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
