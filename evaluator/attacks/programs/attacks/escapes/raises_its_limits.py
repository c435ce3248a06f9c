# title: higher limits
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import ctypes
import os
import sys


def attempt():
    library = ctypes.CDLL(None, use_errno=True)
    import resource

    for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY:
            continue
        try:
            resource.setrlimit(limit, (hard + 1, hard + 1))
        except (OSError, ValueError):
            continue
        return "raised a limit"


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
