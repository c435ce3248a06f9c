//! The sandbox with real escapes, as root and as an ordinary user, in both tiers.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod confined;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use confined::{Launched, SECRET, Who, World, everybody, everybody_in_full, is_root, sandbox};
use evaluator::order::{Confinement, Ended, Export, How, Order, Profile, Tier};
use support::{count_processes, eventually, unique_sleep};

const GOOD: How = How::Exited { code: 0 };

fn mebibytes(count: u64) -> u64 {
    count << 20
}

/// What `attempts.py` may not even ask for.
const DEADLY: [&str; 18] = [
    "add_a_key",
    "compare_processes",
    "count_events",
    "enter_a_namespace",
    "handle_faults",
    "load_a_filter_program",
    "load_a_kernel",
    "load_a_module",
    "make_a_ring",
    "make_a_user_namespace",
    "mount_something",
    "move_a_mount",
    "open_by_handle",
    "pivot",
    "read_memory_of_a_process",
    "trace_a_process",
    "trace_the_parent",
    "use_the_keyring",
];

/// What anybody gets who isn't shut in.
const GOT_BARE: [&str; 12] = [
    "find_the_secret_in_the_environment",
    "hide_memory_in_a_file",
    "hide_memory_in_a_segment",
    "learn_that_a_file_exists",
    "list_home",
    "listen",
    "reach_a_tcp_port",
    "reach_a_udp_port",
    "reach_an_abstract_socket",
    "read_a_file_in_home",
    "see_a_process",
    "write_where_reading_is_allowed",
];

/// Lays out what an attempt might want to reach, and lets a program in the sandbox, or bare, try all or some.
fn try_to_get_out(who: Who, tier: Tier, only: &[&str]) -> BTreeMap<String, String> {
    let world = World::new(who, tier);
    let decoy = world.at("home").join("id_ed25519");
    fs::write(&decoy, "a private key").unwrap();
    fs::write(world.at("readable").join("file"), "may be read").unwrap();
    let unix = UnixListener::bind(world.at("home").join("socket")).unwrap();
    let datagram = UnixDatagram::bind(world.at("home").join("datagram")).unwrap();
    // If something is refused, then not for want of the usual rights.
    for path in ["home", "home/id_ed25519", "home/socket", "home/datagram", "readable", "readable/file"] {
        fs::set_permissions(world.at(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::copy("tests/data/attempts.py", world.at("readable/attempts.py")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("evolve-{}-{who:?}-{tier:?}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let by_name = UnixListener::bind_addr(&address).unwrap();
    let mut victim = Command::new("sleep").arg("600").env("SECRET", SECRET).spawn().unwrap();
    let outside = serde_json::json!({
        "decoy": decoy, "written": world.at("home/written"), "readable": world.at("readable"), "disk": "/dev/vda",
        "tcp": tcp.local_addr().unwrap().port(), "udp": udp.local_addr().unwrap().port(),
        "unix": world.at("home/socket"), "datagram": world.at("home/datagram"), "abstract": name,
        // The command's own launcher isn't known before it runs; our own process does as well.
        "secret": SECRET, "launcher": std::process::id(), "victim": victim.id(), "only": only,
    });
    let script = world.at("readable/attempts.py").display().to_string();
    let mut order = world.program(&["/usr/bin/python3", &script, &outside.to_string()]);
    if tier == Tier::None {
        order.confinement = Confinement::None;
        order.environment.insert("SECRET".to_owned(), SECRET.to_owned());
    }
    let (ended, output) = world.run(&order);
    assert_eq!(ended.how, GOOD, "{who:?} {tier:?}: {}", ended.stderr);
    if tier != Tier::None {
        assert_eq!(fs::read_to_string(&decoy).unwrap(), "a private key", "{who:?} {tier:?}");
        assert_eq!(fs::read_to_string(world.at("readable/file")).unwrap(), "may be read", "{who:?} {tier:?}");
        assert!(!world.at("home/written").exists(), "{who:?} {tier:?}");
        assert!(victim.try_wait().unwrap().is_none(), "{who:?} {tier:?}: the victim died");
        datagram.set_nonblocking(true).unwrap();
        assert!(datagram.recv(&mut [0]).is_err(), "{who:?} {tier:?}: a datagram arrived");
    }
    drop((unix, by_name));
    victim.kill().unwrap();
    victim.wait().unwrap();
    serde_json::from_str(&output).unwrap()
}

#[test]
fn no_attempt_to_get_out_gets_anything() {
    for (who, tier) in everybody() {
        let results = try_to_get_out(who, tier, &[]);
        assert!(results.len() > 80, "{}", results.len());
        // Without namespaces names can be seen: of files and of processes.
        let known: &[&str] =
            if tier == Tier::Reduced { &["learn_that_a_file_exists", "see_a_process"] } else { &[] };
        let failed = |result: &str| result.starts_with("refused: ") || result.starts_with("killed: ");
        let got: Vec<_> = results
            .iter()
            .filter(|(name, result)| !failed(result) && !known.contains(&name.as_str()))
            .collect();
        assert!(got.is_empty(), "{who:?} {tier:?}: {got:#?}");
        for name in DEADLY {
            assert_eq!(results[name], "killed: SIGSYS", "{who:?} {tier:?}: {name}");
        }
    }
}

#[test]
fn the_same_attempts_succeed_without_a_sandbox() {
    // Some might hit us if they ran as ourselves.
    if is_root() {
        let results = try_to_get_out(Who::Ordinary, Tier::None, &GOT_BARE);
        for name in GOT_BARE {
            assert!(results[name].starts_with("GOT: "), "{name}: {}", results[name]);
        }
    }
}

#[test]
fn files_that_the_caller_left_open_are_closed() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        // The shell's own descriptor for the script is 0 to 2 only here.
        let script = "for n in 3 4 5 6 7 8 9; do if (: <&$n) 2>/dev/null; then echo $n; fi; done";
        let (ended, output) = world.run(&world.order(script));
        assert_eq!((ended.how, output.as_str()), (GOOD, ""), "{who:?} {tier:?}");
    }
}

#[test]
fn a_fork_bomb_meets_its_limit() {
    let fork = "import os, time\ncount = 0\ntry:\n  while True:\n    if os.fork() == 0:\n      time.sleep(60)\n    count += 1\nexcept OSError: print(count)\n";
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let (ended, output) = world.run(&world.program(&["/usr/bin/python3", "-c", fork]));
        assert_eq!(ended.how, GOOD, "{who:?} {tier:?}: {}", ended.stderr);
        let count: u32 = output.lines().next().unwrap().parse().unwrap();
        // Without a user of its own the limit counts whatever else that user runs: other tests here.
        let limit = if tier == Tier::Reduced && who == Who::Ordinary || !is_root() { 300 } else { 64 };
        assert!((10..=limit).contains(&count), "{who:?} {tier:?}: {count}");
    }
}

#[test]
fn two_sandboxes_have_a_limit_of_processes_each() {
    let threads = "import threading, time\nfor n in range(40): threading.Thread(target=time.sleep, args=(3,)).start()\nprint('all', flush=True)\n";
    for who in everybody_in_full() {
        let world = World::new(who, Tier::Full);
        let other = World::new(who, Tier::Full);
        let running = other.start(&other.program(&["/usr/bin/python3", "-c", threads]));
        running.started();
        let (ended, output) = world.run(&world.program(&["/usr/bin/python3", "-c", threads]));
        assert_eq!((ended.how, output.as_str()), (GOOD, "all\n"), "{who:?}");
        assert_eq!(running.ended(Tier::Full).how, GOOD);
    }
}

#[test]
fn one_process_gets_no_more_memory_than_allowed() {
    let eat = "blocks = []\nwhile len(blocks) < 80: blocks.append(bytearray(b'x') * 100_000_000)\n";
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let order =
            Order { memory_bytes: Some(mebibytes(500)), ..world.program(&["/usr/bin/python3", "-c", eat]) };
        let ended = world.run(&order).0;
        assert_eq!(ended.how, How::Memory, "{who:?} {tier:?}: {}", ended.stderr);
        assert!(ended.peak_bytes < mebibytes(1500), "{who:?} {tier:?}: {}", ended.peak_bytes);
    }
}

#[test]
fn address_space_is_limited_too() {
    // Reserved only: what is resident never grows.
    let reserve = "import mmap\nmmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n";
    let world = World::new(Who::Us, Tier::Full);
    let ended = world.run(&world.program(&["/usr/bin/python3", "-c", reserve])).0;
    assert!(ended.stderr.contains("Cannot allocate memory"), "{}", ended.stderr);
}

#[test]
fn many_processes_get_no_more_memory_together_than_allowed() {
    let eat = "import os, time\nfor n in range(11):\n  if os.fork() == 0: break\nx = bytearray(b'x') * 1_000_000_000\ntime.sleep(60)\n";
    for who in everybody_in_full() {
        let world = World::new(who, Tier::Full);
        let ended = world.run(&world.program(&["/usr/bin/python3", "-c", eat])).0;
        assert_eq!(ended.how, How::Memory, "{who:?}: {}", ended.stderr);
        assert!(ended.peak_bytes < mebibytes(4096), "{who:?}: {}", ended.peak_bytes);
    }
}

#[test]
fn the_scratch_folder_is_limited_in_bytes() {
    let fill = "for n in 1 2 3 4 5 6 7 8; do head -c 10000000 /dev/urandom >$n || break; done; cat * | wc -c";
    for who in everybody_in_full() {
        let world = World::new(who, Tier::Full);
        let (ended, output) = world.run(&world.order(fill));
        let bytes: u64 = output.trim().parse().unwrap();
        assert!((50_000_000..=64 << 20).contains(&bytes), "{who:?}: {bytes}");
        assert!(ended.stderr.contains("No space left"), "{who:?}: {}", ended.stderr);
        // It was never on the disk.
        assert_eq!(fs::read_dir(world.at("scratch")).unwrap().count(), 0);
    }
}

#[test]
fn the_scratch_folder_is_limited_in_files() {
    let fill = "n=0; while : >f$n; do n=$((n + 1)); done 2>/dev/null; echo $n";
    for who in everybody_in_full() {
        let world = World::new(who, Tier::Full);
        let output = world.run(&world.program(&["/bin/bash", "-c", fill])).1;
        let count: u32 = output.trim().parse().unwrap();
        assert!((900..=1000).contains(&count), "{who:?}: {count}");
    }
}

#[test]
fn a_file_is_limited_in_every_tier() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let ended = world
            .run(&world.order("head -c 100000000 /dev/zero >big || head -c 100000000 /bin/sh >big; yes >big"))
            .0;
        // SIGXFSZ, or no space left.
        assert_ne!(ended.how, GOOD, "{who:?} {tier:?}");
    }
}

#[test]
fn spinning_sleeping_and_ignoring_signals_end_at_the_deadline() {
    for (who, tier) in everybody() {
        for script in
            ["while :; do :; done", "sleep 600", "trap '' TERM INT HUP QUIT; while :; do sleep 1; done"]
        {
            let world = World::new(who, tier);
            let ended = world.run(&Order { deadline_seconds: 0.3, ..world.order(script) }).0;
            assert_eq!(ended.how, How::Deadline, "{who:?} {tier:?}: {script}");
            assert!((0.3..3.0).contains(&ended.wall_seconds), "{who:?} {tier:?}: {}", ended.wall_seconds);
        }
    }
}

#[test]
fn ten_gigabytes_of_complaints_are_cut_short() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let flood = Order { deadline_seconds: 1.0, ..world.order("yes complaint | head -c 10000000000 >&2") };
        let ended = world.run(&flood).0;
        assert_eq!(ended.how, How::Deadline, "{who:?} {tier:?}");
        assert!(ended.stderr.len() < 70_000 && ended.stderr.contains("left out"), "{}", ended.stderr.len());
    }
}

const DAEMON: &str = "(setsid setsid sh -c \"trap '' HUP TERM; sleep SLEEP & sleep SLEEP\" &);";

#[test]
fn daemons_die_when_the_command_ends() {
    for (who, tier) in everybody() {
        let (world, sleep) = (World::new(who, tier), unique_sleep());
        let script = DAEMON.replace("SLEEP", &sleep) + " sleep 0.2";
        assert_eq!(world.run(&world.order(&script)).0.how, GOOD, "{who:?} {tier:?}");
        assert_eq!(count_processes(&sleep), 0, "{who:?} {tier:?}");
    }
}

#[test]
fn daemons_die_when_the_lifeline_closes() {
    for (who, tier) in everybody() {
        let (world, sleep) = (World::new(who, tier), unique_sleep());
        let script = DAEMON.replace("SLEEP", &sleep) + &format!(" sleep {sleep}");
        let mut launched = world.start(&world.order(&script));
        launched.started();
        eventually("the sleepers run", || count_processes(&sleep) >= 3);
        drop(launched.control);
        launched.launcher.wait().unwrap();
        assert_eq!(count_processes(&sleep), 0, "{who:?} {tier:?}");
    }
}

#[test]
fn kill_9_of_the_launcher_kills_everything_in_the_full_sandbox() {
    for who in everybody_in_full() {
        let (world, sleep) = (World::new(who, Tier::Full), unique_sleep());
        let script = DAEMON.replace("SLEEP", &sleep) + &format!(" sleep {sleep}");
        let mut launched = world.start(&world.order(&script));
        launched.started();
        eventually("the sleepers run", || count_processes(&sleep) >= 3);
        launched.launcher.kill().unwrap();
        launched.launcher.wait().unwrap();
        eventually("the sleepers are gone", || count_processes(&sleep) == 0);
    }
}

#[test]
fn kill_9_of_the_launcher_kills_the_command_in_the_reduced_one() {
    for (who, tier) in everybody().into_iter().filter(|(_, tier)| *tier == Tier::Reduced) {
        let (world, sleep) = (World::new(who, tier), unique_sleep());
        let mut launched = world.start(&world.order(&format!("exec sleep {sleep}")));
        launched.started();
        eventually("the sleeper runs", || count_processes(&sleep) == 1);
        launched.launcher.kill().unwrap();
        launched.launcher.wait().unwrap();
        eventually("the sleeper is gone", || count_processes(&sleep) == 0);
    }
}

/// Runs a script that is to leave `result` behind.
fn export(world: &World, script: &str) -> (How, Option<Vec<u8>>) {
    let mut order = world.order(script);
    let to = world.at("out").join("result");
    sandbox(&mut order).export = Some(Export { from: "result".to_owned(), to: to.clone(), bytes: 1000 });
    let Ended { how, .. } = world.run(&order).0;
    (how, fs::read(to).ok())
}

#[test]
fn an_ordinary_file_is_taken_out_after_a_good_end() {
    for (who, tier) in everybody() {
        let (how, bytes) = export(&World::new(who, tier), "printf hello >result");
        assert_eq!((how, bytes.unwrap()), (GOOD, b"hello".to_vec()), "{who:?} {tier:?}");
    }
}

#[test]
fn what_is_no_ordinary_file_is_not_taken_out() {
    let cases = [
        ("true", "there is no result"),
        ("ln -s /bin/sh result", "symbolic link"),
        ("mkfifo result", "no ordinary file"),
        ("mkdir result", "no ordinary file"),
        ("head -c 1001 /bin/sh >result", "1001 bytes, more than 1000"),
    ];
    for (who, tier) in everybody() {
        for (script, why) in cases {
            let (how, bytes) = export(&World::new(who, tier), script);
            let How::NotExported { message } = how else { panic!("{who:?} {tier:?} {script}: {how:?}") };
            assert!(message.contains(why), "{who:?} {tier:?} {script}: {message}");
            assert_eq!(bytes, None, "{who:?} {tier:?} {script}");
        }
    }
}

#[test]
fn after_a_bad_end_nothing_is_taken_out() {
    for (who, tier) in everybody() {
        let (how, bytes) = export(&World::new(who, tier), "printf hello >result; exit 1");
        assert_eq!((how, bytes), (How::Exited { code: 1 }, None), "{who:?} {tier:?}");
    }
}

#[test]
fn a_daemon_cannot_change_the_result_after_the_end() {
    for (who, tier) in everybody() {
        let script = "(setsid sh -c 'while :; do printf changed >result; done' &); sleep 0.1; rm -f result; printf hello >result2; mv result2 result";
        // In the reduced tier processes are counted for each user, and the tests beside this one may have used them up just now: then
        // the shell can't fork and ends with 2.
        let attempt = || export(&World::new(who, tier), script);
        let ended = (0..3).map(|_| attempt()).find(|(how, _)| *how != How::Exited { code: 2 });
        let (how, bytes) = ended.unwrap_or_else(attempt);
        // Whatever was there when everything was dead, whole.
        assert_eq!(how, GOOD, "{who:?} {tier:?}");
        let text = String::from_utf8(bytes.unwrap()).unwrap();
        assert!(["", "hello", "changed"].contains(&text.as_str()), "{who:?} {tier:?}: {text}");
    }
}

#[test]
fn a_missing_folder_fails_the_sandbox_and_says_which() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let mut order = world.order("echo it ran >&2");
        sandbox(&mut order).read.push("/no/such/folder".into());
        let ended = world.run(&order).0;
        let How::SandboxFailed { message } = &ended.how else { panic!("{who:?} {tier:?}: {:?}", ended.how) };
        assert!(message.contains("/no/such/folder") && ended.stderr.is_empty(), "{message}");
    }
}

#[test]
fn a_result_with_no_place_fails_the_sandbox() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let mut order = world.order("echo it ran >&2");
        let to = world.at("out").join("no/folder/result");
        sandbox(&mut order).export = Some(Export { from: "result".to_owned(), to, bytes: 1 });
        let ended = world.run(&order).0;
        assert!(
            matches!(&ended.how, How::SandboxFailed { message } if message.contains("no/folder")),
            "{ended:?}"
        );
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_program_that_is_not_in_the_sandbox_cannot_be_started() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let outside = world.at("home").join("program");
        fs::write(&outside, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        let ended = world.run(&world.program(&[outside.to_str().unwrap()])).0;
        assert!(
            matches!(&ended.how, How::NotStarted { message } if message.contains("program")),
            "{ended:?}"
        );
    }
}

/// A launcher in a user namespace that allows no further one.
#[test]
fn without_user_namespaces_an_ordinary_user_gets_the_reduced_sandbox() {
    if !is_root() {
        // Only root can make such a place.
        return;
    }
    let world = World::new(Who::Ordinary, Tier::Full);
    let order = world.order("echo $(id -u)");
    let (control, theirs) = UnixStream::pair().unwrap();
    let program = world.at("readable").join("evolve-launcher");
    fs::copy(env!("CARGO_BIN_EXE_evolve-launcher"), &program).unwrap();
    let inner = format!(
        // The second shell is root from its beginning, so that it has root's rights in there.
        "read go; exec /bin/sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && \
         exec setpriv --reuid=12345 --regid=12345 --clear-groups {}'",
        program.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "/bin/sh", "-c", &inner]).env("PATH", "/usr/bin:/bin");
    let mut launched = Launched::new(command, control, theirs, &order);
    // Everybody is who they are, in there too.
    let pid = launched.launcher.id();
    eventually("it has its own namespace", || {
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
        link(&pid.to_string()).is_some_and(|theirs| Some(theirs) != link("self"))
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{map}"), "0 0 100000").unwrap();
    }
    drop(launched.launcher.stdin.take().map(|mut stdin| std::io::Write::write_all(&mut stdin, b"go\n")));
    let mut output = launched.launcher.stdout.take().unwrap();
    let ended = launched.ended(Tier::Reduced);
    assert_eq!(ended.how, GOOD, "{}", ended.stderr);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut output, &mut text).unwrap();
    assert_eq!(text, "12345\n");
}

#[test]
fn rustc_compiles_a_library_with_the_systems_linker_and_it_is_taken_out() {
    // The tests may run as a user who has no toolchain, whoever built them.
    let Ok(output) = Command::new("rustc").args(["--print", "sysroot"]).output() else { return };
    let sysroot = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        // A toolchain in root's home is out of reach of others, unless root's own mount shows it.
        let reachable = Command::new("/usr/bin/setpriv")
            .args(["--reuid=12345", "--regid=12345", "--clear-groups", "test", "-r", &sysroot])
            .status();
        if is_root()
            && !(who == Who::Us && tier == Tier::Full)
            && !reachable.is_ok_and(|status| status.success())
        {
            continue;
        }
        let source = world.at("readable").join("kernel.rs");
        fs::write(&source, "#[unsafe(no_mangle)] pub extern \"C\" fn twice(x: u32) -> u32 { 2 * x }")
            .unwrap();
        let rustc = format!("{sysroot}/bin/rustc");
        let mut order =
            world.program(&[&rustc, "-O", "--crate-type=cdylib", "-Clinker=/usr/bin/cc", "-o", "kernel.so"]);
        order.arguments.push(source.display().to_string());
        let to = world.at("out").join("kernel.so");
        sandbox(&mut order).read.push(sysroot.clone().into());
        sandbox(&mut order).export =
            Some(Export { from: "kernel.so".to_owned(), to: to.clone(), bytes: mebibytes(32) });
        let ended = world.run(&order).0;
        assert_eq!(ended.how, GOOD, "{who:?} {tier:?}: {}", ended.stderr);
        assert_eq!(fs::read(to).unwrap()[..4], *b"\x7fELF");
    }
}

#[test]
fn python_runs_with_threads_and_subprocesses() {
    let script = "import subprocess, tempfile, threading, json, asyncio\n\
        done = []\n\
        threads = [threading.Thread(target=done.append, args=(n,)) for n in range(8)]\n\
        [t.start() for t in threads]; [t.join() for t in threads]\n\
        out = subprocess.run(['sh', '-c', 'cat; echo $?'], input=b'text ', capture_output=True).stdout.decode()\n\
        with tempfile.TemporaryDirectory() as folder: open(folder + '/file', 'w').write('x')\n\
        asyncio.run(asyncio.sleep(0.001))\n\
        print(len(done), out)\n";
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let (ended, output) = world.run(&world.program(&["python3", "-c", script]));
        assert_eq!((ended.how, output.trim()), (GOOD, "8 text 0"), "{who:?} {tier:?}: {}", ended.stderr);
    }
}

#[test]
fn a_network_that_is_allowed_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("import socket; socket.create_connection(('127.0.0.1', {port})).close()");
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let mut order = world.program(&["/usr/bin/python3", "-c", &script]);
        sandbox(&mut order).network = true;
        let ended = world.run(&order).0;
        assert_eq!(ended.how, GOOD, "{who:?} {tier:?}: {}", ended.stderr);
    }
}

#[test]
fn memory_is_told_while_it_runs_and_its_peak_starts_anew_with_each_question() {
    let script = "import sys\nx = bytearray(b'x') * 200_000_000\ndel x\nx = bytearray(b'x') * 50_000_000\n\
        print('ready', flush=True)\nsys.stdin.readline()\ny = bytearray(b'x') * 100_000_000\ndel y\nprint('again', flush=True)\nsys.stdin.readline()\n";
    for (who, tier) in everybody() {
        for profile in [Profile::Tool, Profile::Trial] {
            let world = World::new(who, tier);
            let mut order = world.program(&["/usr/bin/python3", "-c", script]);
            sandbox(&mut order).profile = profile;
            let mut launched = world.start(&order);
            assert_eq!(launched.started(), tier);
            let mut lines =
                std::io::BufRead::lines(std::io::BufReader::new(launched.launcher.stdout.take().unwrap()));
            let mut stdin = launched.launcher.stdin.take().unwrap();
            lines.next().unwrap().unwrap();
            let (first, second) = (launched.memory(), launched.memory());
            let what = format!("{who:?} {tier:?} {profile:?} {first:?} {second:?}");
            assert!((50_000_000..150_000_000).contains(&first.resident_bytes), "{what}");
            assert!((200_000_000..300_000_000).contains(&first.peak_bytes), "{what}");
            assert!((50_000_000..150_000_000).contains(&second.peak_bytes), "{what}");
            std::io::Write::write_all(&mut stdin, b"\n").unwrap();
            lines.next().unwrap().unwrap();
            let third = launched.memory();
            assert!((150_000_000..250_000_000).contains(&third.peak_bytes), "{who:?} {tier:?} {third:?}");
            let mut fastest = Duration::MAX;
            for _ in 0..20 {
                let started = Instant::now();
                launched.memory();
                fastest = fastest.min(started.elapsed());
            }
            assert!(fastest < Duration::from_millis(1), "{fastest:?}");
            drop(stdin);
            launched.ended(tier);
        }
    }
}

#[test]
fn the_launchers_own_secret_is_in_no_process_of_the_sandbox() {
    for (who, tier) in everybody() {
        let world = World::new(who, tier);
        let script = format!("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c {SECRET}");
        let output = world.run(&world.order(&script)).1;
        assert!(!output.contains(SECRET) && output.ends_with("0\n"), "{who:?} {tier:?}: {output}");
    }
}

#[tokio::test]
async fn an_examination_finds_that_the_sandbox_holds() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let launcher = std::path::Path::new(env!("CARGO_BIN_EXE_evolve-launcher"));
    let examination = evaluator::sandbox::examine(launcher, folder.path()).await.unwrap();
    assert_eq!(examination.tier, Some(Tier::Full));
    let failed: Vec<_> = examination.probes.iter().filter(|probe| !probe.held).collect();
    assert!(failed.is_empty() && examination.held(), "{failed:#?}");
    assert_eq!(examination.probes.len(), 14);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_examination_of_no_sandbox_finds_what_got_out() {
    // A launcher that shuts nobody in: whatever the order says, the probes run bare.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let launcher = folder.path().join("bare-launcher");
    let text = include_str!("data/bare_launcher.py").replace("@REAL@", env!("CARGO_BIN_EXE_evolve-launcher"));
    fs::write(&launcher, text).unwrap();
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
    let examination = evaluator::sandbox::examine(&launcher, folder.path()).await.unwrap();
    assert!(!examination.held());
    for name in
        ["reads no file outside", "writes no file outside", "reaches no network", "sees no processes outside"]
    {
        let probe = examination.probes.iter().find(|probe| probe.name == name).unwrap();
        assert!(!probe.held, "{probe:?}");
    }
}

#[test]
fn a_caller_that_hangs_up_at_once_leaves_nothing_behind() {
    for (who, tier) in everybody() {
        let (world, sleep) = (World::new(who, tier), unique_sleep());
        let mut launched = world.start(&world.order(&format!("sleep {sleep}")));
        drop(launched.control);
        launched.launcher.wait().unwrap();
        assert_eq!(count_processes(&sleep), 0, "{who:?} {tier:?}");
    }
}
