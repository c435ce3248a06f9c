# title: a million files
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the number of its files is limited, or the time limit

import bisect
import os
import sys


def attempt():
    for number in range(300_000):
        with open(f"file{number}", "w"):
            pass
    return "made 300 000 files"


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
