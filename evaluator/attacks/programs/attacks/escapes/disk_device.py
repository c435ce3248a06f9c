# title: the disk itself
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import sys


def attempt():
    for name in ("vda", "sda", "nvme0n1", "xvda", "mem", "kmsg", "port"):
        try:
            return open("/dev/" + name, "rb").read(512)
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
