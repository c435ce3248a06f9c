# title: memory that is writable and executable: only its own process is the worse for it
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: the filter sees calls, whoever makes them

import bisect
import ctypes
import os
import sys


def attempt():
    library = ctypes.CDLL(None, use_errno=True)
    import mmap

    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # mov eax, 101 (ptrace); mov edi, 16; mov esi, victim; syscall; ret
    code = bytes([0xB8, 101, 0, 0, 0, 0xBF, 16, 0, 0, 0, 0xBE]) + (@VICTIM@).to_bytes(4, "little") + bytes([0x0F, 0x05, 0xC3])
    memory.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    if run() == 0:
        return "traces the victim"


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
