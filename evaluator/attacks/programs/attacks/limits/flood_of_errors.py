# title: prints errors without end
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: kept up to a limit, then the time limit
# waits: yes

import os


def solve(numbers):
    while True:
        os.write(2, b"more and more\n" * 4096)
