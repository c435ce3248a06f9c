# title: ptrace
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
    for pid in (os.getppid(), @VICTIM@):
        if library.ptrace(16, pid, 0, 0) == 0:
            return f"traces {pid}"


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
