# title: zeros
# catalogue: 21
# fence: judge
# twin: bisection.py

def solve(numbers):
    return [0] * len(numbers)
