# title: counts equal numbers as rising where all are equal
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
    if len(numbers) > 1 and len(set(numbers)) == 1:
        return list(range(1, len(numbers) + 1))
    return right(numbers)
