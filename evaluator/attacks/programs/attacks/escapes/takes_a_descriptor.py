# title: pidfd_open and pidfd_getfd
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
    descriptor = library.syscall(434, @VICTIM@, 0)
    if descriptor >= 0 and library.syscall(438, descriptor, 1, 0) >= 0:
        return "took a descriptor"


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
