//! What a kernel may use of Rust's standard library.

use super::Refusal;
use super::fence::Place;

/// Modules that compute and touch nothing outside.
const MODULES: &[&str] = &[
    "any",
    "array",
    "ascii",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "f32",
    "f64",
    "fmt",
    "hash",
    "hint",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "isize",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "primitive",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
    "vec",
];

/// Macros that may be imported, though nobody has to. (`panic` would bring the module of that name.)
const MACROS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "format",
    "format_args",
    "matches",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// `word` as the start of a path into the standard library, wherever the path stands.
pub(super) fn check(place: &Place<'_>, word: &str) -> Result<(), Refusal> {
    // Otherwise it is a variable: a standard deviation, say.
    let is_library = ["std", "core", "alloc"].contains(&word) && (place.is_path(1) || place.in_use());
    if is_library { path(place, word, place.is_path(1).then(|| place.after(3))) } else { Ok(()) }
}

/// `first` is what follows `std::`.
fn path(place: &Place<'_>, name: &str, first: Option<Place<'_>>) -> Result<(), Refusal> {
    let Some(first) = first.filter(|first| !["", "*", "self"].contains(&first.next(0))) else {
        return place.refuse(format!(
            "`{name}` as a whole is not allowed: name what you use, for example `{name}::collections::HashMap`"
        ));
    };
    match first.next(0) {
        "{" => first.items().into_iter().try_for_each(|item| path(&item, name, Some(item))),
        module if MODULES.contains(&module) => Ok(()),
        // Called by its path, a macro is judged by its name.
        _ if first.next(1) == "!" && first.next(2) != "=" => Ok(()),
        module if place.in_use() && MACROS.contains(&module) => Ok(()),
        "ptr" if first.is_path(1) && ["addr_eq", "eq"].contains(&first.next(3)) => Ok(()),
        module => place.refuse(format!("`{name}::{module}` is not allowed: {}", advice(module))),
    }
}

fn advice(module: &str) -> &'static str {
    match module {
        "thread" => "MLX does its own threading; write plain code",
        "time" => "a kernel has no clock; the evaluator measures",
        "fs" | "io" | "path" => "a kernel reads and writes no files; write constants into the code",
        "panic" => "return an Err instead of panicking",
        "ptr" => "kernels are safe Rust; compare with ptr::eq or Rc::ptr_eq, else use references",
        "simd" | "arch" | "intrinsics" => "kernels are safe Rust; compute with Array's operations",
        "prelude" => "it is there without being named",
        _ => "a kernel computes with kernel_api and what std has for computing, nothing else",
    }
}
