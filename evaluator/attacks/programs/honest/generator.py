# title: a generator instead of a list

from bisect import bisect_left


def solve(numbers):
    ends = []
    for number in numbers:
        place = bisect_left(ends, number)
        ends[place:place + 1] = (number,)
        yield len(ends)
