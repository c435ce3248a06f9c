"""What a candidate might try to get out of the sandbox. Each attempt runs in a process of its own and either gets something, and
says what, or is refused. Prints one JSON object: the name of each attempt with what came of it: "refused: ...", "killed: SIGNAL" or
"GOT: ...". The first argument is what the test has laid out outside."""

import ctypes
import json
import os
import platform
import signal
import socket
import struct
import sys

OUTSIDE = json.loads(sys.argv[1])
ATTEMPTS = {}


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


# Python closes its script before it runs it.
INHERITED = [number for number in range(3, 1024) if is_open(number)]
LIBC = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
# The numbers of calls that have no function in the C library.
NUMBERS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268),
    "chroot": (161, 51), "keyctl": (250, 219), "add_key": (248, 217), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "kexec_load": (246, 104), "init_module": (175, 105),
    "open_by_handle_at": (304, 265), "memfd_create": (319, 279), "clone": (56, 220), "clone3": (435, 435),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "prlimit64": (302, 261), "shmget": (29, 194),
    "pivot_root": (155, 41), "move_mount": (429, 429), "kcmp": (312, 272), "personality": (135, 92),
    "clock_settime": (227, 112), "sethostname": (170, 161), "process_madvise": (440, 440),
    "landlock_create_ruleset": (444, 444), "move_pages": (279, 239), "quotactl": (179, 60), "acct": (163, 89),
    "mq_open": (240, 180), "name_to_handle_at": (303, 264), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
    "vmsplice": (278, 75), "truncate": (76, 45), "setxattr": (188, 5),
}


def call(name, *arguments):
    number = NUMBERS[name][1 if ARM else 0]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[a if isinstance(a, (bytes, ctypes.Array)) or a is None else ctypes.c_long(a)
                                                    for a in arguments])
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return f"{name} gave {result}"


def attempt(function):
    ATTEMPTS[function.__name__] = function
    return function


# --- files


@attempt
def read_a_file_in_home():
    return open(OUTSIDE["decoy"]).read()


@attempt
def read_it_by_dots():
    return open("../" * 20 + OUTSIDE["decoy"]).read()


@attempt
def read_it_through_a_symlink():
    os.symlink(OUTSIDE["decoy"], "link")
    return open("link").read()


@attempt
def read_it_through_a_hard_link():
    os.link(OUTSIDE["decoy"], "hard")
    return open("hard").read()


@attempt
def read_it_through_proc_root():
    return open("/proc/1/root" + OUTSIDE["decoy"]).read()


@attempt
def read_it_through_the_launchers_folder():
    return open(f"/proc/{OUTSIDE['launcher']}/root{OUTSIDE['decoy']}").read()


@attempt
def rename_it_to_here():
    os.rename(OUTSIDE["decoy"], "mine")
    return "renamed"


@attempt
def list_home():
    return os.listdir(os.path.dirname(OUTSIDE["decoy"]))


@attempt
def learn_that_a_file_exists():
    return os.stat(OUTSIDE["decoy"]).st_size


@attempt
def read_passwords():
    return open("/etc/shadow").read()


@attempt
def read_the_disk():
    return open(OUTSIDE["disk"], "rb").read(1)


@attempt
def read_kernel_messages():
    return os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 10)


@attempt
def write_outside():
    open(OUTSIDE["written"], "w").write("x")
    return "written"


@attempt
def overwrite_a_file():
    open(OUTSIDE["decoy"], "w").write("x")
    return "overwritten"


@attempt
def truncate_a_file():
    return call("truncate", OUTSIDE["decoy"].encode(), 0)


@attempt
def write_where_reading_is_allowed():
    open(os.path.join(OUTSIDE["readable"], "new"), "w").write("x")
    return "written"


@attempt
def change_what_may_be_read():
    open(os.path.join(OUTSIDE["readable"], "file"), "a").write("x")
    return "written"


@attempt
def change_its_mode():
    os.chmod(os.path.join(OUTSIDE["readable"], "file"), 0o777)
    return "changed"


@attempt
def change_its_times():
    os.utime(os.path.join(OUTSIDE["readable"], "file"))
    return "changed"


@attempt
def remove_it():
    os.remove(os.path.join(OUTSIDE["readable"], "file"))
    return "removed"


@attempt
def write_to_the_root():
    open("/new", "w").write("x")
    return "written"


@attempt
def make_a_device():
    os.mknod("disk", 0o600 | 0o060000, os.makedev(254, 0))
    return "made"


@attempt
def set_an_attribute():
    return call("setxattr", b".", b"user.x", b"y", 1, 0)


# --- network


def connect(family, kind, address):
    with socket.socket(family, kind) as client:
        client.settimeout(2)
        client.connect(address)
        client.send(b"x")
    return f"reached {address}"


@attempt
def reach_a_tcp_port():
    return connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", OUTSIDE["tcp"]))


@attempt
def reach_a_udp_port():
    return connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", OUTSIDE["udp"]))


@attempt
def reach_a_unix_socket():
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, OUTSIDE["unix"])


@attempt
def reach_an_abstract_socket():
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + OUTSIDE["abstract"])


@attempt
def reach_an_address_through_a_pair():
    left, _right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.sendto(b"x", OUTSIDE["datagram"])
    return "sent"


@attempt
def reach_an_address_through_a_stream_pair():
    left, _right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Such a pair ignores the address, if it doesn't refuse: the datagram socket outside must stay empty.
    left.sendto(b"x", OUTSIDE["datagram"])
    raise PermissionError("ignored or refused; the test looks whether anything arrived")


@attempt
def ask_netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))
    return "bound"


@attempt
def open_a_vsock():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    return "opened"


@attempt
def listen():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
    return "listening"


@attempt
def open_a_raw_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    return "opened"


# --- secrets and other processes


@attempt
def find_the_secret_in_the_environment():
    if any(OUTSIDE["secret"] in value for value in os.environ.values()):
        return "found"
    raise FileNotFoundError("not in the environment")


@attempt
def find_it_in_another_environment():
    for process in ["1", str(OUTSIDE["launcher"]), str(OUTSIDE["victim"]), str(os.getppid())]:
        try:
            text = open(f"/proc/{process}/environ", "rb").read()
        except OSError:
            continue
        if OUTSIDE["secret"].encode() in text:
            return f"found in {process}"
    raise FileNotFoundError("in no environment")


@attempt
def use_an_inherited_file():
    if INHERITED:
        return f"files {INHERITED} are open"
    raise FileNotFoundError("nothing inherited")


@attempt
def see_a_process():
    return os.stat(f"/proc/{OUTSIDE['victim']}").st_uid


@attempt
def read_anothers_memory():
    return open(f"/proc/{OUTSIDE['victim']}/mem", "rb").read(1)


@attempt
def read_the_first_process():
    return open("/proc/1/mem", "rb").read(1)


@attempt
def read_the_first_process_environment():
    return open("/proc/1/environ", "rb").read()


@attempt
def trace_a_process():
    return call("ptrace", 16, OUTSIDE["victim"], 0, 0)


@attempt
def trace_the_parent():
    return call("ptrace", 16, os.getppid(), 0, 0)


@attempt
def read_memory_of_a_process():
    return call("process_vm_readv", OUTSIDE["victim"], None, 0, None, 0, 0)


@attempt
def compare_processes():
    return call("kcmp", os.getpid(), OUTSIDE["victim"], 0, 0, 0)


@attempt
def kill_a_process():
    os.kill(OUTSIDE["victim"], signal.SIGKILL)
    return "killed"


@attempt
def kill_the_launcher():
    os.kill(OUTSIDE["launcher"], signal.SIGKILL)
    return "killed"


@attempt
def stop_the_launcher():
    os.kill(OUTSIDE["launcher"], signal.SIGSTOP)
    return "stopped"


@attempt
def steal_a_file_of_a_process():
    handle = int(call("pidfd_open", OUTSIDE["victim"], 0).split()[-1])
    return call("pidfd_getfd", handle, 0, 0)


@attempt
def read_limits_of_a_process():
    return call("prlimit64", OUTSIDE["victim"], 7, None, ctypes.create_string_buffer(16))


@attempt
def advise_a_process():
    return call("process_madvise", 3, None, 0, 21, 0)


# --- the kernel


@attempt
def mount_something():
    return call("mount", b"none", b"/tmp", b"tmpfs", 0, None)


@attempt
def move_a_mount():
    return call("move_mount", -100, b"/usr", -100, b"/tmp", 0)


@attempt
def change_the_root():
    return call("chroot", b".")


@attempt
def pivot():
    return call("pivot_root", b".", b".")


@attempt
def make_a_user_namespace():
    return call("unshare", 0x10000000)


@attempt
def make_it_by_clone():
    return call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)


@attempt
def make_it_by_clone3():
    return call("clone3", struct_clone3(0x10000000), 64)


def struct_clone3(flags):
    return ctypes.create_string_buffer(struct.pack("<8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)


@attempt
def enter_a_namespace():
    return call("setns", 0, 0)


@attempt
def use_the_keyring():
    return call("keyctl", 0, -3, 0)


@attempt
def add_a_key():
    return call("add_key", b"user", b"x", b"y", 1, -3)


@attempt
def make_a_ring():
    return call("io_uring_setup", 8, ctypes.create_string_buffer(120))


@attempt
def load_a_filter_program():
    return call("bpf", 0, ctypes.create_string_buffer(72), 72)


@attempt
def count_events():
    return call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)


@attempt
def handle_faults():
    return call("userfaultfd", 0)


@attempt
def load_a_kernel():
    return call("kexec_load", 0, 0, None, 0)


@attempt
def load_a_module():
    return call("init_module", None, 0, b"")


@attempt
def open_by_handle():
    return call("open_by_handle_at", -100, ctypes.create_string_buffer(16), 0)


@attempt
def hide_memory_in_a_file():
    return call("memfd_create", b"x", 0)


@attempt
def hide_memory_in_a_segment():
    return call("shmget", 0, 1 << 20, 0o1600)


@attempt
def hide_memory_in_a_queue():
    return call("mq_open", b"x", os.O_CREAT | os.O_RDWR, 0o600, None)


@attempt
def become_root():
    os.setresuid(0, 0, 0)
    return "is root"


@attempt
def become_somebody_else():
    os.setresuid(1234, 1234, 1234)
    return "is 1234"


@attempt
def use_a_setuid_program():
    # `su` would ask for a password of root's; that it runs as root is enough.
    os.chmod(os.open("own", os.O_CREAT | os.O_RDWR), 0o4755)
    status = os.spawnl(os.P_WAIT, "/usr/bin/su", "su", "-c", "id")
    if status == 0:
        return "su worked"
    raise PermissionError(f"su ended with {status}")


@attempt
def raise_a_limit():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    return "raised"


@attempt
def set_the_clock():
    return call("clock_settime", 0, ctypes.create_string_buffer(16))


@attempt
def name_the_host():
    return call("sethostname", b"x", 1)


@attempt
def turn_off_address_randomization():
    return call("personality", 0x0040000)


@attempt
def move_memory_of_a_process():
    return call("move_pages", OUTSIDE["victim"], 0, None, None, None, 0)


@attempt
def watch_files():
    return call("inotify_init1", 0)


@attempt
def watch_all_files():
    return call("fanotify_init", 0, 0)


@attempt
def account_for_processes():
    return call("acct", None)


@attempt
def change_a_kernel_setting():
    open("/proc/sys/kernel/hostname", "w").write("x")
    return "changed"


@attempt
def press_a_key():
    open("/proc/sysrq-trigger", "w").write("h")
    return "pressed"


@attempt
def look_at_devices():
    return os.listdir("/sys")


@attempt
def use_32_bit_numbers():
    # The x32 table: the same machine, other numbers.
    if ARM:
        raise PermissionError("not on this machine")
    result = LIBC.syscall(ctypes.c_long(0x40000000 + 39))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return "answered"


def try_out(function):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            text = "GOT: " + str(function())
        # Python itself says that a limit can't be raised with the second.
        except (OSError, ValueError) as error:
            text = f"refused: {error}"
        os.write(writer, text.encode(errors="replace")[:4000])
        os._exit(0)
    os.close(writer)
    text = b""
    while part := os.read(reader, 4096):
        text += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"killed: {signal.Signals(os.WTERMSIG(status)).name}"
    return text.decode(errors="replace")


# Without a sandbox some would succeed in stopping us.
wanted = OUTSIDE["only"] or list(ATTEMPTS)
print(json.dumps({name: try_out(ATTEMPTS[name]) for name in wanted}), flush=True)
