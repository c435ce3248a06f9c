# title: wrong for more than five hundred numbers
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
    return right(numbers) if len(numbers) <= 500 else right(numbers[:500]) + [1] * (len(numbers) - 500)
