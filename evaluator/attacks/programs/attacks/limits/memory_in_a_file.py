# title: fills memory through a file without a name
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: no such file, or the memory limit

import os


def solve(numbers):
    file = os.memfd_create("hoard")
    while True:
        os.write(file, b"x" * (32 << 20))
