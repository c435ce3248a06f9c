# title: bpf, perf, userfaultfd
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
    buffer = ctypes.create_string_buffer(128)
    for name, number, arguments in (("bpf", 321, (0, buffer, 72)), ("perf", 298, (buffer, 0, -1, -1, 0)), ("userfaultfd", 323, (1,))):
        if library.syscall(number, *arguments) >= 0:
            return "has " + name


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
