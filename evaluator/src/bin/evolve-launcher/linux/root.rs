//! The file system that a sandboxed command sees: what it may read, at its own paths, and one folder to write to.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use evaluator::order::Sandbox;
use rustix::fs::{CWD, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::report::{Failure, Step};
use super::rights::Identity;
use super::sys::set_mount;

/// A place of the old system that the new one keeps.
struct Kept {
    path: PathBuf,
    is_folder: bool,
    mount: OwnedFd,
}

/// Replaces the root of this mount namespace, which must be our own. Needs the privileges of its user namespace.
pub(crate) fn build(sandbox: &Sandbox, scratch: &Path, identity: Identity) -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making the mounts private".to_owned())?;
    // All of them are taken before anything is mounted, so that nothing new shows up in them.
    let mut kept = Vec::new();
    for path in tops(&sandbox.read) {
        let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        kept.push(keep(path, attributes).step(|| format!("making {} readable", path.display()))?);
    }
    let null = [Path::new("/dev/null"), Path::new("/dev/urandom")];
    for path in null.into_iter().chain(sandbox.devices.iter().map(PathBuf::as_path)) {
        // A read-only mount of a device doesn't keep anybody from writing to the device.
        let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        kept.push(keep(path, attributes).step(|| format!("opening the device {}", path.display()))?);
    }
    // Any folder would do to stand the new root on; this one is ours.
    let root = scratch;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", root, "tmpfs", flags, c"size=1m,nr_inodes=4096,mode=755")
        .step(|| "mounting the new root".to_owned())?;
    for Kept { path, is_folder, mount } in &kept {
        let place = within(root, path);
        make_place(&place, *is_folder)
            .and_then(|()| Ok(move_mount(mount, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?))
            .step(|| format!("placing {}", path.display()))?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(format!("/proc/self/{target}"), root.join("dev").join(name))
            .step(|| "filling /dev".to_owned())?;
    }
    // The C library's semaphores, which Python's multiprocessing uses, are files there.
    symlink(scratch, root.join("dev/shm")).step(|| "filling /dev".to_owned())?;
    // Before the old root goes: a user may only mount this where a whole one is in sight.
    let proc = root.join("proc");
    make_place(&proc, true)
        .and_then(|()| {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            Ok(mount("proc", &proc, "proc", flags, c"hidepid=invisible,subset=pid")?)
        })
        .step(|| "mounting /proc".to_owned())?;
    let place = within(root, scratch);
    make_place(&place, true)
        .and_then(|()| {
            let Identity { uid, gid } = identity;
            let (size, files) = (sandbox.scratch_bytes, sandbox.scratch_files);
            let options = format!("size={size},nr_inodes={files},mode=700,uid={uid},gid={gid}\0");
            let options =
                std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
            Ok(mount("tmpfs", &place, "tmpfs", flags, options)?)
        })
        .step(|| format!("mounting the scratch folder {}", scratch.display()))?;
    enter(root).step(|| "entering the new root".to_owned())
}

/// Makes a folder the root, and nothing else reachable. The root itself becomes read-only.
fn enter(root: &Path) -> io::Result<()> {
    chdir(root)?;
    // The old root comes to lie on top of the new one, from where it can be taken off.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    let top = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, 0.into())?;
    set_mount(top, libc::MOUNT_ATTR_RDONLY, false)
}

/// Paths without those that lie within another of them.
fn tops(paths: &[PathBuf]) -> Vec<&Path> {
    let mut sorted: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut tops: Vec<&Path> = Vec::new();
    for path in sorted {
        let covered = |top: &&Path| {
            // A link within a folder may lead out of it, where its target isn't.
            path.starts_with(top) && fs::canonicalize(path).is_ok_and(|real| real.starts_with(top))
        };
        if !tops.iter().any(covered) {
            tops.push(path);
        }
    }
    tops
}

fn keep(path: &Path, attributes: u64) -> io::Result<Kept> {
    if !path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
        return Err(io::Error::other("not an absolute path without `..`"));
    }
    let is_folder = path.metadata()?.is_dir();
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = open_tree(CWD, path, flags)?;
    set_mount(&mount, attributes, true)?;
    Ok(Kept { path: path.to_owned(), is_folder, mount })
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Something to mount on.
fn make_place(place: &Path, is_folder: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    if is_folder {
        return builder.create(place);
    }
    if let Some(folder) = place.parent() {
        builder.create(folder)?;
    }
    if place.exists() { Ok(()) } else { File::create(place).map(drop) }
}
