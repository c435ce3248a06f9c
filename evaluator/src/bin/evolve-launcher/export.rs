//! Takes a command's result out of its scratch folder, once nobody can change it any more.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use evaluator::order::Export;

/// Opens the place for it, before there is anything that could interfere.
pub(crate) fn open(export: &Export) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW;
    File::options().write(true).create(true).truncate(true).mode(0o644).custom_flags(flags).open(&export.to)
}

/// Removes the place again, since nothing came.
pub(crate) fn discard(export: &Export) {
    // It may never have been opened.
    let _ = std::fs::remove_file(&export.to);
}

/// Copies it; an error says what is wrong with it.
pub(crate) fn copy(export: &Export, scratch: &Path, mut to: &File) -> Result<(), String> {
    let name = &export.from;
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(format!("{name:?} is no name of a file"));
    }
    // Not blocking, so that nobody has to write to a pipe of that name first.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags).open(scratch.join(name));
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => format!("{name} is a symbolic link"),
        Some(libc::ENOENT) => format!("there is no {name}"),
        _ => format!("{name} can't be opened: {error}"),
    })?;
    let metadata = file.metadata().map_err(|error| format!("{name}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{name} is no ordinary file"));
    }
    if metadata.len() > export.bytes {
        return Err(format!("{name} has {} bytes, more than {}", metadata.len(), export.bytes));
    }
    let copied = io::copy(&mut file.take(export.bytes), &mut to);
    copied.map(drop).map_err(|error| format!("{name} can't be copied: {error}"))
}
