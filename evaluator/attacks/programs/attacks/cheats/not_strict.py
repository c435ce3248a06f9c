# title: rising or equal: right where no number is there twice
# catalogue: 24
# fence: judge
# twin: bisection.py

import bisect


def solve(numbers):
    ends, lengths = [], []
    for number in numbers + numbers[-1:]:
        place = bisect.bisect_right(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths[1:]
