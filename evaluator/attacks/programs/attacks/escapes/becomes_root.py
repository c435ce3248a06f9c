# title: setuid, a program with the set-uid bit
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
    if os.getuid() != 0:
        if library.setuid(0) == 0:
            return "became root"
        for path in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/passwd", "/bin/mount"):
            if os.path.exists(path) and "NoNewPrivs:\t0" in open("/proc/self/status").read():
                return path + " may raise its rights"


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
