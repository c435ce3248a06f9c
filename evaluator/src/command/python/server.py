"""Holds an evaluator's module loaded and evaluates every program in a fork of its own.

Standard input is one end of a socket pair to evolve-evaluator. Messages are frames: four bytes of length, little-endian, and
JSON or raw bytes. One evaluation at a time: when it is over, every process that it started is killed and everything that it
wrote is removed, before the next one begins. Never trusts a fork: whatever comes from it is passed on as bytes.

Every page that a fork writes to is copied, and every page that this process writes to afterwards too: on a short evaluation that
is most of the cost. So what runs for each of them is plain calls of the system without anything in between, and modules that do
something in every fork (`threading`, `random`) aren't imported here.
"""

import errno
import gc
import json
import os
import select
import signal
import stat
import struct
import sys
import time
import traceback

import contract

try:
    import ctypes
except ImportError:
    ctypes = None

# A result longer than that is a flood, not a result.
RESULT_BYTES = 31 << 20
# Of what an evaluation prints: its beginning and its end, in bytes.
HALF = (1 << 19) - 64
# How long killed processes may take to disappear.
PATIENCE = 5.0
# How long an evaluator's module may take to be loaded in a fork, where it can't be loaded once for all.
LOADING = 60.0


class Control:
    """The socket to evolve-evaluator."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.received = b""

    def receive(self):
        """The next message; None once nobody is there any more."""
        length = self.read(4)
        if length is None:
            return None
        body = self.read(struct.unpack("<I", length)[0])
        return None if body is None else json.loads(body)

    def read(self, length):
        while len(self.received) < length:
            chunk = os.read(self.descriptor, 1 << 16)
            if not chunk:
                return None
            self.received += chunk
        data, self.received = self.received[:length], self.received[length:]
        return data

    def send(self, message, *raw):
        """A message, JSON in bytes, and what follows it."""
        write(self.descriptor, b"".join([struct.pack("<I", len(part)) + part for part in (message,) + raw]))


class Ends:
    """The beginning and the end of what comes through a pipe."""

    def __init__(self):
        self.head = []
        self.room = HALF
        self.tail = []
        self.waiting = 0
        self.total = 0

    def take(self, data):
        self.total += len(data)
        if self.room > 0:
            self.head.append(data[: self.room])
            rest = data[self.room :]
            self.room -= len(self.head[-1])
        else:
            rest = data
        if rest:
            self.tail.append(rest)
            self.waiting += len(rest)
            if self.waiting > 4 * HALF:
                self.gather()

    def gather(self):
        """The end in one piece."""
        self.tail = [b"".join(self.tail)[-HALF:]]
        self.waiting = len(self.tail[0])

    def text(self):
        head = b"".join(self.head)
        if not self.tail:
            return head
        self.gather()
        left_out = self.total - len(head) - self.waiting
        note = b"\n... (%d bytes left out) ...\n" % left_out if left_out else b""
        return head + note + self.tail[0]


class Answer:
    """What a fork says: when a stage begins (`S` and its number), and its result (`R`, length, bytes)."""

    def __init__(self):
        self.stages = 0
        self.result = None
        self.nonsense = None
        self.chunks = []
        self.length = None
        self.wanted = 0

    def take(self, data):
        if self.is_complete():
            return
        if self.length is not None:
            self.collect(data)
            return
        data = b"".join(self.chunks) + data
        self.chunks = []
        while data:
            kind = data[:1]
            if kind == b"S" and self.stages < 3:
                if len(data) < 2:
                    break
                self.stages += 1
                data = data[2:]
            elif kind == b"R":
                if len(data) < 5:
                    break
                self.length = struct.unpack("<I", data[1:5])[0]
                if self.length > RESULT_BYTES:
                    self.nonsense = "too_much"
                else:
                    self.collect(data[5:])
                return
            else:
                self.nonsense = "nonsense"
                return
        self.chunks = [data]

    def collect(self, data):
        self.chunks.append(data)
        self.wanted += len(data)
        if self.wanted >= self.length:
            self.result = b"".join(self.chunks)[: self.length]

    def is_complete(self):
        return self.result is not None or self.nonsense is not None


class Server:
    def __init__(self, control, setup):
        self.control = control
        self.setup = setup
        self.scratch = os.getcwd()
        self.program = self.scratch + "/program"
        self.here = self.scratch + "/here"
        self.beside = [(target, self.here + "/" + os.path.basename(target)) for target in setup["beside"]]
        self.alone = setup["alone"]
        self.evaluator = None
        self.guard = None
        self.processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None

    def load(self):
        self.evaluator = contract.Evaluator(self.setup)
        why = contract.unsafe_to_fork()
        if why is not None:
            self.evaluator = None
        self.guard = Guard.new(self.setup.get("calls"))
        if self.guard is not None:
            # It keeps forks from changing ours.
            self.processors = None
        gc.collect()
        gc.freeze()
        return why

    def evaluate(self, job):
        if not self.alone and not self.clean():
            # Whoever outlived the last evaluation for a moment has left something.
            return False
        program = self.lay_out(job)
        pipes = (os.pipe(), os.pipe(), os.pipe())
        started = time.monotonic()
        child = fork()
        if child == 0:
            self.become_evaluation(program, pipes)
        answer, out, err = takers = (Answer(), Ends(), Ends())
        sources = {}
        poll = select.poll()
        for (ours, theirs), taker in zip(pipes, takers):
            os.close(theirs)
            sources[ours] = taker
            poll.register(ours, select.POLLIN)
        in_time = watch(child, poll, sources, answer, job["seconds"], LOADING if self.evaluator is None else 0.0)
        wall = time.monotonic() - started
        status, usage = self.kill_everything(child)
        drain(poll, sources)
        is_clean = self.clean()
        result = answer.result if in_time and answer.result is not None else b""
        if answer.nonsense is not None:
            how = '{"how":"%s"}' % answer.nonsense
        elif not in_time:
            how = '{"how":"timeout"}'
        elif answer.result is not None:
            how = '{"how":"result"}'
        elif os.WIFSIGNALED(status):
            how = '{"how":"signaled","signal":%d}' % os.WTERMSIG(status)
        else:
            how = '{"how":"exited","code":%d}' % os.WEXITSTATUS(status)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        texts = (out.text(), err.text())
        header = '{"how":%s,"seconds":%r,"peak_bytes":%d,"result_bytes":%d,"stdout_bytes":%d,"stderr_bytes":%d,"clean":%s}' % (
            (how, wall, peak, len(result), len(texts[0]), len(texts[1]), "true" if is_clean else "false")
        )
        self.control.send(header.encode("ascii"), result, *texts)
        return is_clean

    def lay_out(self, job):
        """The program in a folder of its own, and a folder to be in from which the evaluator's files can be read by name."""
        os.mkdir(self.program, 0o700)
        os.mkdir(self.here, 0o700)
        for target, link in self.beside:
            os.symlink(target, link)
        for name, text in job["files"]:
            path = self.program + "/" + name
            if "/" in name:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                write(file, text.encode("utf-8"))
            finally:
                os.close(file)
        return self.program + "/" + job["name"]

    def become_evaluation(self, program, pipes):
        """In the fork. Never returns."""
        code = 1
        try:
            os.setsid()
            os.close(self.control.descriptor)
            for ours, _ in pipes:
                os.close(ours)
            (_, answer), (_, out), (_, err) = pipes
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            os.chdir(self.here)
            if self.guard is not None:
                self.guard.install()
            evaluator = self.evaluator
            is_cold = evaluator is None
            if is_cold:
                evaluator = contract.Evaluator(self.setup)

            def begin(stage):
                # The time of a warm evaluation's first stage runs from the fork.
                if is_cold or stage > 1:
                    write(answer, b"S%d" % stage)

            result = evaluator.evaluate(program, begin)
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except BaseException:  # the candidate may have closed it
                    pass
            write(answer, b"R" + struct.pack("<I", len(result)) + result)
            code = 0
        except BaseException:
            try:
                os.write(2, traceback.format_exc().encode("utf-8", "replace"))
            except BaseException:
                pass
        finally:
            os._exit(code)

    def kill_everything(self, child):
        """Leaves no process but this one, and says how the evaluation's first one ended."""
        kill(child)
        _, status, usage = os.wait4(child, 0)
        if self.alone:
            # Everybody else in this namespace but its first process, at one blow.
            give_up = None
            while True:
                try:
                    os.kill(-1, signal.SIGKILL)
                except OSError as error:
                    if error.errno == errno.ESRCH:
                        break
                now = time.monotonic()
                give_up = give_up or now + PATIENCE
                if now > give_up:
                    os._exit(3)
                reap()
                time.sleep(0.0005)
        reap()
        if self.processors is not None and os.sched_getaffinity(0) != self.processors:
            os.sched_setaffinity(0, self.processors)
        return status, usage

    def clean(self):
        """Removes everything from the scratch folder; false if that can't be done."""
        try:
            remove_all(self.scratch)
            return True
        except OSError:
            return False


class Guard:
    """A system call filter by which a fork can't send signals to this process. Linux only, within the sandbox."""

    def __init__(self, lines):
        # The kernel's struct sock_fprog: how many lines, and where they are.
        self.lines = ctypes.create_string_buffer(lines, len(lines))
        self.program = struct.pack("@HP", len(lines) // 8, ctypes.addressof(self.lines))
        self.prctl = ctypes.CDLL(None).prctl

    @classmethod
    def new(cls, calls):
        if not calls or ctypes is None:
            return None
        try:
            own = {int(task) for task in os.listdir("/proc/self/task")}
        except OSError:
            own = {os.getpid()}
        # All processes, and this one's group.
        forbidden = sorted(own) + [0xFFFFFFFF, (1 << 32) - os.getpgrp()]
        load, equal, give = 0x20, 0x15, 0x06
        allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
        targets = [load, 0, 0, 16]
        check = [targets] + [[equal, len(forbidden) - index, 0, pid] for index, pid in enumerate(forbidden)]
        check += [[give, 0, 0, allow], [give, 0, 0, refuse]]
        # F_SETOWN and F_SETOWN_EX: signals by way of a file.
        owners = [[load, 0, 0, 24], [equal, 2, 0, 8], [equal, 1, 0, 15], [give, 0, 0, allow], [give, 0, 0, refuse]]
        numbers = calls["signals"]
        head = [[load, 0, 0, 0]]
        for index, number in enumerate(numbers):
            head.append([equal, len(numbers) - index + 1, 0, number])
        head.append([equal, len(check) + 1, 0, calls["fcntl"]])
        head.append([give, 0, 0, allow])
        lines = head + check + owners
        if any(max(line[1], line[2]) > 255 for line in lines):
            return None
        return cls(b"".join(struct.pack("<HBBI", *line) for line in lines))

    def install(self):
        set_seccomp, filter_mode = 22, 2
        self.prctl(set_seccomp, filter_mode, self.program, 0, 0)


def watch(child, poll, sources, answer, seconds, loading):
    """Waits for a fork's result or end. False if it ran out of time; each stage has as much."""
    end = None
    if hasattr(os, "pidfd_open"):
        try:
            end = os.pidfd_open(child)
            poll.register(end, select.POLLIN)
        except OSError:
            pass
    stages = 0
    deadline = time.monotonic() + seconds + loading
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            pause = left if end is not None else min(left, 0.005)
            events = poll.poll(max(1, min(int(pause * 1000) + 1, 1 << 30)))
            ended = False
            for descriptor, _ in events:
                if descriptor == end:
                    ended = True
                else:
                    data = os.read(descriptor, 1 << 16)
                    if data:
                        sources[descriptor].take(data)
                    else:
                        poll.unregister(descriptor)
            if answer.is_complete():
                return True
            if answer.stages > stages:
                deadline = time.monotonic() + seconds
                stages = answer.stages
            if ended or (end is None and has_ended(child)):
                return True
    finally:
        if end is not None:
            poll.unregister(end)
            os.close(end)


def drain(poll, sources):
    """Takes what is left in the pipes once all writers are dead, and closes them."""
    # A pipe holds a megabyte at most; more comes only from somebody who isn't dead.
    for _ in range(8):
        more = False
        for descriptor, event in poll.poll(0):
            data = os.read(descriptor, 1 << 20) if event & select.POLLIN else b""
            if data:
                sources[descriptor].take(data)
                more = True
            else:
                poll.unregister(descriptor)
        if not more:
            break
    for descriptor in sources:
        os.close(descriptor)


def has_ended(child):
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def fork():
    """Processes of the last evaluation may still count for a moment."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return os.fork()
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() > give_up:
                raise
            time.sleep(0.001)


def kill(child):
    """A fork and its group. It is not reaped yet, so the number is still its own."""
    for target in (child, -child):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            pass


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def write(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def remove_all(top):
    """Empties a folder, however deep and whatever its modes. Folders are moved up before they are emptied, so that no path
    gets long. Nobody else is alive who could move something meanwhile."""
    moved = 0
    pending = [top]
    while pending:
        folder = pending.pop()
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                if entry.stat(follow_symlinks=False).st_mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(entry.path, 0o700)
                place = entry.path
                if folder != top:
                    place = os.path.join(top, ".removed-%d" % moved)
                    moved += 1
                    os.rename(entry.path, place)
                pending.append(place)
            else:
                os.unlink(entry.path)
        if folder != top:
            os.rmdir(folder)


def main():
    # For forks, which inherit it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = Control(os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # What a module prints while it is loaded isn't an answer.
    os.dup2(2, 1)
    setup = control.receive()
    if setup is None:
        return
    sys.path[:] = setup["path"]
    sys.argv[:] = [setup["evaluator"]]
    server = Server(control, setup)
    try:
        why_cold = server.load()
    except BaseException as error:
        words = traceback.format_exc()
        said = {"loaded": False, "error": "%s: %s" % (type(error).__name__, error), "traceback": words[-8192:]}
        control.send(json.dumps(said).encode())
        return
    # What loading has left in the scratch folder isn't for candidates.
    server.clean()
    said = {"loaded": True, "cold": why_cold, "warnings": contract.warnings(setup, server.evaluator)}
    control.send(json.dumps(said).encode())
    while True:
        job = control.receive()
        if job is None or not server.evaluate(job):
            return


if __name__ == "__main__":
    main()
