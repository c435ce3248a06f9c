"""What the benchmarks of this folder share: the stub server as a process, memory of a process and all its children, rates."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "work" / "initial_program.py"
EVALUATOR = HERE / "work" / "evaluator.py"


class Stub:
    """The stub server, for the time of a `with`."""

    def __init__(self, latency=0.0, skip=0):
        self.options = ["--latency", str(latency), "--skip", str(skip)]

    def __enter__(self):
        command = [sys.executable, str(HERE / "stub_server.py"), str(PROGRAM), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def times(self):
        """When each request came, in seconds of the monotonic clock."""
        with urllib.request.urlopen(f"{self.address}/times") as answer:
            return json.load(answer)

    def set_latency(self, seconds):
        urllib.request.urlopen(f"{self.address}/latency", data=str(seconds).encode()).close()


class Memory:
    """The most memory that a process and all that it started hold at once, looked at twice a second.

    `pss` shares what processes have in common among them, `rss` counts it for each. Without /proc (macOS) there is only `rss`.
    """

    def __init__(self, pid):
        self.root, self.pss, self.rss, self.processes = pid, 0, 0, 0
        # Seconds, once it has ended.
        self.cpu = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.stop.wait(0.5):
            self.look()

    def look(self):
        sizes = [size for pid in tree(self.root) if (size := resident(pid))]
        self.pss = max(self.pss, sum(pss for pss, _ in sizes))
        self.rss = max(self.rss, sum(rss for _, rss in sizes))
        self.processes = max(self.processes, len(sizes))

    def end(self):
        self.stop.set()
        self.thread.join()

    def words(self):
        pss = f"{self.pss / 1e6:.0f} MB (PSS), " if self.pss else ""
        return f"{pss}{self.rss / 1e6:.0f} MB (sum of RSS) in up to {self.processes} processes"


def tree(root):
    """A process and its descendants."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True).stdout
    children = {}
    for line in listing.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found, queue = [], [root]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def resident(pid):
    """Bytes: shared among those who share them, and not shared. None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kb = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
        return kb["Pss"] * 1024, kb["Rss"] * 1024
    except (FileNotFoundError, ProcessLookupError, KeyError):
        if Path("/proc").exists():
            return None
    except PermissionError:
        pass
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return (0, int(said) * 1024) if said else None


def run(command, **options):
    """Runs a program to its end. Seconds, memory with the processors' time of it and all that it waited for, and its exit code."""
    begun = time.monotonic()
    process = subprocess.Popen(command, **options)
    memory = Memory(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begun
    memory.end()
    memory.cpu = usage.ru_utime + usage.ru_stime
    return seconds, memory, code


def own_place(folder):
    """An environment with a temporary folder of its own: evolve processes that share one take turns at the machine, so that trials are measured alone."""
    place = folder / "tmp"
    place.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(place)}


def tenths(times):
    """Events per second in each tenth of them."""
    times = sorted(times)
    bounds = [round(i * (len(times) - 1) / 10) for i in range(11)]
    return [(high - low) / (times[high] - times[low]) for low, high in zip(bounds, bounds[1:])]


def spread(rates):
    """Rates in one line."""
    return " ".join(f"{rate:.0f}" for rate in rates)


def machine():
    """What the figures were measured on."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    except (FileNotFoundError, TypeError):
        model = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout.strip()
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start"
