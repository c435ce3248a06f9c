# title: an empty list
# catalogue: 20
# fence: judge
# twin: bisection.py

def solve(numbers):
    return []
