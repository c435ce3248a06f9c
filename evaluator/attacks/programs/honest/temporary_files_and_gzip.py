# title: keeps numbers in a temporary file for a while

import bisect
import gzip
import json
import tempfile


def solve(numbers):
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        file.write(gzip.compress(json.dumps(numbers).encode()))
        file.flush()
        with gzip.open(file.name) as again:
            numbers = json.load(again)
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths
