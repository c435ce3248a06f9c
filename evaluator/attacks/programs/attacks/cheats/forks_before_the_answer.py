# title: two processes print two answers
# catalogue: 34
# fence: judge
# twin: bisection.py

import bisect
import os

def right(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths


os.fork()


def solve(numbers):
    return right(numbers)
