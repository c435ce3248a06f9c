# title: a child that waits in a session of its own and then writes outside
# catalogue: escape
# fence: sandbox
# twin: bisection.py

import bisect
import os
import sys


def attempt():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import time
            for number in range(3, 64):
                try:
                    os.close(number)
                except OSError:
                    pass
            time.sleep(1)
            open('@OUTSIDE@/late', 'w').close()
        os._exit(0)


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
