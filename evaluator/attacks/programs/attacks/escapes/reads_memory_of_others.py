# title: process_vm_readv and /proc/PID/mem
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: refused, or killed for the call

import bisect
import ctypes
import os
import sys


def attempt():
    library = ctypes.CDLL(None, use_errno=True)
    for pid in (os.getppid(), @VICTIM@):
        try:
            open(f"/proc/{pid}/mem", "rb").read(1)
        except OSError as failure:
            if failure.errno == 5:
                return f"the memory of {pid} is open"
        buffer = ctypes.create_string_buffer(8)
        piece = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
        there = (ctypes.c_size_t * 2)(0x400000, 8)
        if library.process_vm_readv(pid, piece, 1, there, 1, 0) == 8:
            return f"read the memory of {pid}"


def tried():
    try:
        got = attempt()
    except Exception as failure:
        print("failed:", failure, file=sys.stderr)
    else:
        if got:
            print("ESC" + "APED:", got, file=sys.stderr)


tried()


def solve(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths
