# title: stops the clocks it can reach, then takes its time
# catalogue: 4 8
# fence: sandbox
# twin: bisection.py
# expect: the time limit: the clock is outside
# waits: yes

import time

for name in ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time"):
    setattr(time, name, lambda: 0)


def solve(numbers):
    time.sleep(60)
    return numbers
