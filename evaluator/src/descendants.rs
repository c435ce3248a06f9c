//! The processes below a process (Linux).

use std::fs;

use rustix::process::Pid;

/// All processes that descend from `ancestor`, itself left out. What starts or ends meanwhile may be missed.
pub fn of(ancestor: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut unvisited = vec![ancestor];
    while let Some(pid) = unvisited.pop() {
        for child in children(pid) {
            found.push(child);
            unvisited.push(child);
        }
    }
    found
}

/// Direct children of a process, whichever of its threads started them.
pub fn children(pid: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let Ok(tasks) = fs::read_dir(tasks) else { return Vec::new() };
    let mut pids = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(text) => pids.extend(text.split_whitespace().filter_map(parse)),
            // Either the thread has just ended or the kernel was built without this file.
            Err(_) if task.path().exists() => return children_by_scan(pid),
            Err(_) => {}
        }
    }
    pids
}

/// The slow way: the parent of every process of the machine.
fn children_by_scan(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let names = processes.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_child = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        // The name in parentheses may hold anything; after it come the state and the parent.
        let parent_field = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent_field.and_then(parse) == Some(parent)
    };
    names.filter_map(|name| parse(&name)).filter(is_child).collect()
}

fn parse(word: &str) -> Option<Pid> {
    Pid::from_raw(word.parse().ok()?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpid;
    use std::process::Command;

    #[test]
    fn both_ways_find_a_child() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(of(getpid()).contains(&pid));
        assert!(children_by_scan(getpid()).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
