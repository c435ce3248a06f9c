"""A hostile evaluator: gathers whatever it can reach, looks for planted secrets in it and prints what it found.

Every planted secret holds one marker. It is put together here, so that this program doesn't find itself.
usage: dump.py DEEP HOME PROJECT PROGRAM   (DEEP is 1 where the sandbox has to hold)
"""

import base64
import json
import os
import resource
import sys

DEEP, HOME, PROJECT, PROGRAM = sys.argv[1] == "1", *sys.argv[2:5]
MARKER = b"CAN" + b"ARY"
LARGEST = 64 << 20
found, looked_at = [], {}


def look(place, content):
    kind = place.split(" ")[0]
    looked_at[kind] = looked_at.get(kind, 0) + 1
    for form, marker in [("raw", MARKER), ("reversed", MARKER[::-1])]:
        at = content.find(marker)
        if at >= 0:
            near = content[max(0, at - 40) : at + 60]
            found.append(f"{place} ({form}): {near!r} {base64.b64encode(near).decode()}")


def read(place, path):
    try:
        # A pipe that nobody writes to must not hold us up.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            look(place, file.read(LARGEST) or b"")
    except OSError:
        pass


def names(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def walk(place, folder):
    for at, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(at, name)
            if os.path.isfile(path) and path != os.path.abspath(__file__):
                read(f"{place} {path}", path)


def memory(pid):
    try:
        maps = open(f"/proc/{pid}/maps").read().splitlines()
        mem = open(f"/proc/{pid}/mem", "rb", 0)
    except OSError:
        return
    for line in maps:
        span, rights, *_ = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if not rights.startswith("rw") or end - start > LARGEST or start >= 1 << 63:
            continue
        try:
            mem.seek(start)
            look(f"memory of {pid} at {span}", mem.read(end - start))
        except (OSError, ValueError):
            pass


def parents():
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            return


look("environment", repr(dict(os.environ)).encode())
look("arguments", " ".join(sys.argv).encode())
for descriptor in names("/proc/self/fd"):
    if int(descriptor) > 2:
        read(f"descriptor {descriptor}", f"/proc/self/fd/{descriptor}")
walk("folder", os.getcwd())
walk("temporary", os.environ.get("TMPDIR", "/nowhere"))
walk("own-home", os.path.expanduser("~"))
if DEEP:
    for pid in [name for name in names("/proc") if name.isdigit()]:
        for file in ["environ", "cmdline", "auxv"]:
            read(f"process {pid}/{file}", f"/proc/{pid}/{file}")
    for pid in parents():
        for descriptor in names(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{descriptor}"
            if os.path.isfile(path):
                read(f"parent {pid} descriptor {descriptor}", path)
        for kept in ["cwd", "root"]:
            walk(f"parent {pid} {kept}", f"/proc/{pid}/{kept}/home") if kept == "root" else walk(f"parent {pid}", f"/proc/{pid}/cwd")
        memory(pid)
    for file in [".netrc", ".ssh/id_ed25519", ".aws/credentials"]:
        read(f"home {file}", os.path.join(HOME, file))
    walk("project", PROJECT)
    walk("temporary", "/tmp")

x = next(line.split("=")[1].strip() for line in open(PROGRAM) if line.startswith("x = "))
print(repr(dict(os.environ)), file=sys.stderr)
print(json.dumps({
    "score": 1 / (1 + abs(float(x) - 100) / 100),
    "core_limit": max(resource.getrlimit(resource.RLIMIT_CORE)),
    "found": "\n".join(found) or "nothing",
    "looked_at": json.dumps(looked_at),
    "environment": "\n".join(sorted(os.environ)),
}))
