# title: settings of the kernel
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import sys


def attempt():
    for path in ("/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/power/state", "/proc/self/oom_score_adj"):
        if path.startswith("/proc/self"):
            continue
        try:
            open(path, "w").close()
        except OSError:
            continue
        return "may write " + path


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
