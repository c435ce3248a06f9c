//! What a command with a device gets beside the device: what CUDA's driver can't do without, and nothing else.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod confined;

use confined::{World, everybody, everybody_in_full, sandbox};

/// As CUDA does it when it is first used: a thread is named through its file, and a socket without a path is listened on.
const DRIVER: &str = r"
import os, socket
def attempt(name, action):
    try:
        action()
        print(name, 'yes')
    except OSError as error:
        print(name, 'no')
def name_a_thread():
    with open('/proc/self/task/%d/comm' % os.getpid(), 'w') as file:
        file.write('cuda00001')
def listen():
    socket_ = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket_.bind('\0cuda-uvmfd-%d' % os.getpid())
    socket_.listen()
attempt('thread', name_a_thread)
attempt('socket', listen)
attempt('datagram', lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt('internet', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt('setting', lambda: open('/proc/sys/kernel/core_pattern', 'w'))
";

fn tried(with_device: bool) -> Vec<String> {
    let mut all = Vec::new();
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let mut order = world.program(&["/usr/bin/python3", "-c", DRIVER]);
        if with_device {
            sandbox(&mut order).devices.push("/dev/zero".into());
        }
        let (ended, output) = world.run(&order);
        all.push(format!("{who:?} {tier:?}: {} {}", output.replace('\n', ", "), ended.stderr));
    }
    all
}

#[test]
fn with_a_device_a_thread_can_be_named_and_a_local_socket_listened_on_and_no_network_is_there() {
    for line in tried(true) {
        assert!(line.contains("thread yes, socket yes, datagram no, internet no, setting no, "), "{line}");
    }
}

#[test]
fn without_a_device_none_of_that_is_possible() {
    for line in tried(false) {
        assert!(line.contains("thread no, socket no, datagram no, internet no, setting no, "), "{line}");
    }
}

#[test]
fn a_socket_within_one_sandbox_can_not_be_reached_from_another() {
    for who in everybody_in_full() {
        let world = World::new(who, evaluator::order::Tier::Full);
        let mut order = world.program(&[
            "/usr/bin/python3",
            "-c",
            "import socket, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.bind('\\0evolve-devices')\ns.listen()\nprint('up', flush=True)\ntime.sleep(20)",
        ]);
        sandbox(&mut order).devices.push("/dev/zero".into());
        let listener = world.start(&order);
        listener.started();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let other = World::new(who, evaluator::order::Tier::Full);
        let mut order = other.program(&[
            "/usr/bin/python3",
            "-c",
            "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ntry:\n  s.connect('\\0evolve-devices')\n  print('reached')\nexcept OSError as error: print('not reached')",
        ]);
        sandbox(&mut order).devices.push("/dev/zero".into());
        let (ended, output) = other.run(&order);
        assert_eq!(output, "not reached\n", "{who:?}: {}", ended.stderr);
        drop(listener);
    }
}
