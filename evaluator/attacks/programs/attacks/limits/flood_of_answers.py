# title: prints without end
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the limit of the answer

import os


def solve(numbers):
    while True:
        os.write(1, b"1" * (1 << 16))
