# title: ~/.netrc by every name of the home folder
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import os
import pwd
import sys


def attempt():
    for home in (os.path.expanduser("~"), pwd.getpwuid(os.getuid()).pw_dir, "@HOME@", "/root"):
        for name in (".netrc", ".ssh/id_ed25519", ".aws/credentials"):
            try:
                return open(os.path.join(home, name)).read()
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
