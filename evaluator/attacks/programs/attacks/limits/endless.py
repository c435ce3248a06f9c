# title: never ends
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the time limit
# waits: yes

def solve(numbers):
    while True:
        pass
