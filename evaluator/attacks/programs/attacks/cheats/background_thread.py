# title: a thread that computes after the return
# catalogue: 2
# fence: judge
# twin: threads.py

import threading
import time


def solve(numbers):
    result = [0] * len(numbers)
    threading.Thread(target=fill, args=(result, list(numbers)), daemon=True).start()
    return result


def fill(result, numbers):
    time.sleep(0.2)
    for index in range(len(numbers)):
        result[index] = 1
