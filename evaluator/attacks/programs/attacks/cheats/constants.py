# title: a plausible sequence
# catalogue: 21 22
# fence: judge
# twin: bisection.py

def solve(numbers):
    return [int(2 * index**0.5) + 1 for index in range(len(numbers))]
