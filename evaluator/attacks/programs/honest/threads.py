# title: a thread pool

import bisect
from concurrent.futures import ThreadPoolExecutor


def lengths_of(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths


def solve(numbers):
    with ThreadPoolExecutor(max_workers=2) as pool:
        return pool.submit(lengths_of, list(numbers)).result()
