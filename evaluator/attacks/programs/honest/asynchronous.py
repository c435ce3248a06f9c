# title: asyncio, one task for each batch

import asyncio
import bisect


async def lengths_of(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
        if len(lengths) % 64 == 0:
            await asyncio.sleep(0)
    return lengths


def solve(numbers):
    return asyncio.run(lengths_of(numbers))
