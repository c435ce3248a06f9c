//! The migrations are embedded, and Cargo can't know that a new file beside them matters.

// The way to talk to Cargo.
#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
