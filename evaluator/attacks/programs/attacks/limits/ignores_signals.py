# title: ignores every signal, and sleeps
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the time limit
# waits: yes

import signal
import time

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass


def solve(numbers):
    while True:
        time.sleep(1000)
