# title: starts threads without end
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# waits: yes

import threading
import time

threading.stack_size(1 << 16)


def solve(numbers):
    while True:
        threading.Thread(target=time.sleep, args=(1000,)).start()
