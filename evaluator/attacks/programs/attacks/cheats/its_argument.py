# title: its argument
# catalogue: 19
# fence: judge
# twin: bisection.py

def solve(numbers):
    return numbers
