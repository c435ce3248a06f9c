# title: recurses until the stack ends
# catalogue: escape
# fence: sandbox
# twin: bisection.py

import sys

sys.setrecursionlimit(1 << 30)


def solve(numbers):
    def down(depth):
        return repr_of([down(depth + 1)])

    def repr_of(value):
        return eval("value", {"value": value})

    return down(0)
