# title: numbers beyond 64 bits are cut off
# catalogue: 28
# fence: judge
# twin: bisection.py

import bisect
def right(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths


def solve(numbers):
    return right([(number + (1 << 63)) % (1 << 64) for number in numbers])
