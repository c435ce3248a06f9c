# title: returns a list that holds itself
# catalogue: 3
# fence: sandbox
# twin: bisection.py

def solve(numbers):
    result = []
    result.append(result)
    return result
