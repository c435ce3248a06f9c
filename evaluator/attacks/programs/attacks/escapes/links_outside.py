# title: a hard link and a renamed file outside
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import os
import sys


def attempt():
    open("mine", "w").write("here")
    try:
        os.link("mine", "@OUTSIDE@/linked")
    except OSError:
        pass
    os.rename("mine", "@OUTSIDE@/renamed")


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
