# title: descriptors that it inherited
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import os
import sys


def attempt():
    opened = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    others = [number for number in opened if number > 2 and os.path.exists(f"/proc/self/fd/{number}")]
    places = {number: os.readlink(f"/proc/self/fd/{number}") for number in others}
    return {n: p for n, p in places.items() if "/proc/" not in p and "program" not in p and ".py" not in p} or None


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
