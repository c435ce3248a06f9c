# title: a datagram to the log
# catalogue: escape
# fence: sandbox
# twin: bisection.py
# expect: nothing is there, or it is refused

import bisect
import socket
import sys


def attempt():
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for path in ("/dev/log", "/run/systemd/journal/socket", "/var/run/docker.sock"):
        try:
            connection.connect(path)
            return "connected to " + path
        except OSError:
            pass


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
