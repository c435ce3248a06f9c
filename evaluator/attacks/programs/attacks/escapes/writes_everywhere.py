# title: files in the home folder, the temporary folder, beside the runner
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import os
import sys


def attempt():
    for folder in ("@HOME@", "@OUTSIDE@", "/etc", "/usr", os.path.dirname(sys.argv[0]), os.path.dirname(os.__file__)):
        try:
            with open(folder + "/evolve-attack", "w") as file:
                file.write("here")
        except OSError:
            continue
        os.remove(folder + "/evolve-attack")
        return "wrote to " + folder


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
