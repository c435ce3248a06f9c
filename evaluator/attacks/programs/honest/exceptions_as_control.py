# title: an exception where a pile is new

import bisect


class NewPile(Exception):
    pass


def put(ends, number):
    place = bisect.bisect_left(ends, number)
    try:
        ends[place] = number
    except IndexError as error:
        raise NewPile from error


def solve(numbers):
    ends, lengths = [], []
    for number in numbers:
        try:
            put(ends, number)
        except NewPile:
            ends.append(number)
        finally:
            lengths.append(len(ends))
    return lengths
