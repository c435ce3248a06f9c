# title: works on its own argument, which it may change

from bisect import bisect_left


def solve(numbers):
    ends = []
    for index in range(len(numbers)):
        place = bisect_left(ends, numbers[index])
        ends[place:place + 1] = [numbers[index]]
        numbers[index] = len(ends)
    return numbers
