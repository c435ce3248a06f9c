# title: fills memory
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the memory limit

def solve(numbers):
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (64 << 20))
