# title: functools.lru_cache on tuples

import bisect
from functools import lru_cache


@lru_cache(maxsize=None)
def lengths_of(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return tuple(lengths)


def solve(numbers):
    return list(lengths_of(tuple(numbers)))
