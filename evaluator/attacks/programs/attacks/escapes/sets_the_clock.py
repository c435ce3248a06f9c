# title: the system's clock
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: refused, or killed for the call

import bisect
import ctypes
import os
import sys


def attempt():
    library = ctypes.CDLL(None, use_errno=True)
    now = (ctypes.c_long * 2)()
    library.clock_gettime(0, now)
    if library.clock_settime(0, now) == 0:
        return "set the clock"


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
