"""Runs a candidate on a challenge: reads batches from standard input, prints one list of integers for each.

Nothing in this process is believed: the candidate may do to it whatever it likes. So it measures nothing, and knows no
expected result; judge.py compares the answer's bytes in a process of its own.
"""

import json
import runpy
import sys


def main():
    solve = runpy.run_path(sys.argv[1])["solve"]
    # A warm-up on numbers that everybody knows.
    list(solve([3, 1, 2]))
    # One list for all batches, filled anew each time: what is remembered by its address is out of date.
    numbers = []
    answers = []
    for batch in json.load(sys.stdin)["batches"]:
        numbers[:] = batch
        answers.append([int(length) for length in solve(numbers)])
    json.dump(answers, sys.stdout)


main()
