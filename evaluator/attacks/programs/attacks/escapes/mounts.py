# title: mount
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
    os.makedirs("mine", exist_ok=True)
    if library.mount(b"none", os.path.abspath("mine").encode(), b"tmpfs", 0, None) == 0:
        return "mounted"
    if library.mount(b"/", os.path.abspath("mine").encode(), None, 4096, None) == 0:
        return "mounted the root"


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
