# title: a library where MLX looks for compiled kernels
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: its temporary folder is its own and gone afterwards

import bisect
import os
import sys


def attempt():
    for folder in ("/tmp", "/var/tmp", "@OUTSIDE@", os.environ.get("TMPDIR", "/tmp")):
        for version in ("0.32.2", "0.32.4"):
            place = f"{folder}/mlx/{version}/cpu"
            try:
                os.makedirs(place, exist_ok=True)
                open(place + "/libplanted.so", "w").write("planted")
            except OSError:
                continue


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
