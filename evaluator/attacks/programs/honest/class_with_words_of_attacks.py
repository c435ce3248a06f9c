# title: a class, and identifiers that sound dangerous

# import os; os.system("rm -rf /"); open("/etc/shadow"); socket.create_connection(("127.0.0.1", 80))
import bisect


class Process:
    """exec, eval, __eq__, fork: only words."""

    def __init__(self):
        self.environ = []

    def kill(self, signal):
        place = bisect.bisect_left(self.environ, signal)
        self.environ[place:place + 1] = [signal]
        return len(self.environ)


def solve(numbers):
    system = Process()
    return [system.kill(number) for number in numbers]
