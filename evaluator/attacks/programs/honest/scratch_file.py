# title: writes to its working folder, which it may

import array
import bisect
import os


def solve(numbers):
    ends, lengths = [], array.array("q")
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    # A detour through a file of its own.
    with open("lengths", "wb") as file:
        lengths.tofile(file)
    lengths = array.array("q")
    with open("lengths", "rb") as file:
        lengths.fromfile(file, os.path.getsize("lengths") // 8)
    os.remove("lengths")
    return lengths
