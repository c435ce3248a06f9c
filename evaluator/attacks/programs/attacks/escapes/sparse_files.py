# title: files of terabytes with holes
# catalogue: escape
# fence: sandbox
# twin: bisection.py

import bisect
import os
import sys


def attempt():
    with open('large', 'wb') as file:
        file.truncate(1 << 42)
    if os.stat('large').st_size == 1 << 42 and os.stat('large').st_blocks > 1 << 22:
        return 'filled a disk'


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
