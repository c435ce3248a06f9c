# title: processes that start others when they are killed
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: die with the program

import bisect
import os
import signal
import sys
import time


def attempt():
    def guard(depth):
        if os.fork() == 0:
            os.setsid()
            if depth:
                guard(depth - 1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "@MARK@"])

    guard(4)
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
