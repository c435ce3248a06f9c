# title: a cache whose key is all the numbers

import bisect
import functools


@functools.lru_cache(maxsize=64)
def lengths_of(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return tuple(lengths)


def solve(numbers):
    return lengths_of(tuple(numbers))
