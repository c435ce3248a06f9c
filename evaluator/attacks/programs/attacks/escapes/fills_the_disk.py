# title: the disk
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the size of its folder is limited

import bisect
import os
import sys


def attempt():
    written = 0
    try:
        with open("hoard", "wb") as file:
            while written < 4 << 30:
                written += file.write(b"x" * (8 << 20))
    except OSError as failure:
        os.remove("hoard")
        return None if written <= 2 << 30 else f"wrote {written >> 20} MiB: {failure}"
    return "wrote 4 GiB"


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
