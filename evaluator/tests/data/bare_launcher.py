#!/usr/bin/python3
"""A launcher that leaves the sandbox out: it passes each order on to the real one as if the user had said `--no-sandbox`."""

import json
import os
import select
import socket
import struct
import subprocess
import sys

REAL = "@REAL@"

if sys.argv[1:2] == ["--probe"]:
    os.execv(REAL, [REAL, *sys.argv[1:]])

caller = socket.socket(fileno=os.dup(2))
(length,) = struct.unpack("<I", caller.recv(4, socket.MSG_WAITALL))
order = json.loads(caller.recv(length, socket.MSG_WAITALL))
order["confinement"] = {"confinement": "none"}
body = json.dumps(order).encode()
ours, theirs = socket.socketpair()
real = subprocess.Popen([REAL], stderr=theirs.fileno(), env={})
theirs.close()
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 0)
os.dup2(null, 1)
ours.sendall(struct.pack("<I", len(body)) + body)
ends = {caller: ours, ours: caller}
while ours in ends:
    for ready in select.select(list(ends), [], [])[0]:
        part = ready.recv(65536)
        if part:
            ends[ready].sendall(part)
        elif ready is ours:
            del ends[ours]
        else:
            ours.shutdown(socket.SHUT_WR)
            del ends[caller]
sys.exit(real.wait())
