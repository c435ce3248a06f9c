# title: a pool of processes

import bisect
import multiprocessing


def lengths_of(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths


def solve(numbers):
    if len(numbers) < 155:
        return lengths_of(numbers)
    reading, writing = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: writing.send(lengths_of(numbers)))
    child.start()
    result = reading.recv()
    child.join()
    return result
