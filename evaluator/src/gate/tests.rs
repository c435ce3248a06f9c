//! What is refused, what passes, and what never changes either.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const INITIAL: &str = "use kernel_api::*;\n\
    // EVOLVE-BLOCK-START\nfn scale() -> f32 { 2.0 }\n// EVOLVE-BLOCK-END\n\
    pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> { Ok(Box::new(PlainLora::new(layer)?)) }\n";

/// Line of a block's first line in the program.
const FIRST: u32 = 3;

fn gate() -> Gate {
    Gate::new(INITIAL, Language::Rust, 256 << 10, true).unwrap()
}

fn program(block: &str) -> String {
    block::parse(INITIAL).unwrap().splice(&[block]).unwrap()
}

fn verdict_on(block: &str) -> Result<(), Refusal> {
    gate().pass(&program(block))
}

/// Blocks, the line of the refusal within the block, and words of the reason.
const REFUSED: &[(&str, u32, &str)] = &[
    // unsafe and what needs it
    ("fn scale() -> f32 {\n unsafe { 1.0 } }", 2, "`unsafe`"),
    ("unsafe fn f() {}", 1, "`unsafe`"),
    ("struct S;\nunsafe impl Send for S {}", 2, "`unsafe`"),
    ("fn f() { vec![unsafe { *g() }]; }", 1, "`unsafe`"),
    ("fn f() { assert!(matches!(unsafe { g() }, 1)); }", 1, "`unsafe`"),
    ("fn f() { core::arch::asm!(\"nop\"); }", 1, "`core::arch`"),
    ("fn f() { asm!(\"nop\"); }", 1, "`asm`"),
    ("fn f() { asm!(\"nop\"); }", 1, "goes through kernel_api::gpu"),
    ("global_asm!(\"nop\");", 1, "`global_asm`"),
    ("fn f() { naked_asm!(\"ret\"); }", 1, "`naked_asm`"),
    ("fn f() { std::mem::transmute::<u8, i8>(1); }", 1, "`transmute`"),
    ("use std::mem::transmute_copy as copy;", 1, "`transmute_copy`"),
    ("fn f() { let x = std::mem::MaybeUninit::<u8>::uninit(); }", 1, "`MaybeUninit`"),
    ("use std::mem::ManuallyDrop;", 1, "`ManuallyDrop`"),
    ("fn f() { let x: u8 = std::mem::zeroed(); }", 1, "`zeroed`"),
    ("fn f() { let x: u8 = std::mem::uninitialized(); }", 1, "`uninitialized`"),
    ("fn f(v: &[u8]) { v.get_unchecked(3); }", 1, "`get_unchecked`"),
    ("fn f(v: &mut [u8]) { v.get_unchecked_mut(3); }", 1, "`get_unchecked_mut`"),
    ("fn f(v: i32) { v.unchecked_add(3); }", 1, "`unchecked_add`"),
    ("fn f(v: Option<u8>) { v.unwrap_unchecked(); }", 1, "`unwrap_unchecked`"),
    ("fn f() { let b = Box::from_raw(p); }", 1, "`from_raw`"),
    ("fn f() { std::slice::from_raw_parts(p, 4); }", 1, "`from_raw_parts`"),
    ("fn f(p: *const f32) {}", 1, "`*const`"),
    ("fn f(p: *mut f32) {}", 1, "`*mut`"),
    ("struct S { p: Vec<*  const\n u8> }", 1, "`*const`"),
    ("fn f(x: u8) { let p = &raw const x; }", 1, "`&raw const`"),
    ("fn f(mut x: u8) { let p = &raw mut x; }", 1, "`&raw mut`"),
    ("fn f(x: u8) { let p = std::ptr::addr_of!(x); }", 1, "`std::ptr`"),
    ("fn f(x: u8) { addr_of!(x); }", 1, "`addr_of`"),
    ("fn f() { std::ptr::read(0 as _); }", 1, "`std::ptr`"),
    ("use std::ptr;", 1, "`std::ptr`"),
    ("fn f() { core::intrinsics::abort(); }", 1, "`core::intrinsics`"),
    ("static mut COUNT: u8 = 0;", 1, "`static mut`"),
    ("static\n/* a */ mut COUNT: u8 = 0;", 1, "`static mut`"),
    ("union Bits { a: u32, b: f32 }", 1, "`union`"),
    ("pub union Bits<T: Copy> { a: T, b: f32 }", 1, "`union`"),
    // linking and exporting
    ("extern \"C\" { fn getpid() -> i32; }", 1, "`extern`"),
    ("extern crate std as s;", 1, "`extern`"),
    ("pub extern \"C\" fn f() {}", 1, "`extern`"),
    ("#[no_mangle]\nfn f() {}", 1, "`#[no_mangle]`"),
    ("#[unsafe(no_mangle)]\nfn f() {}", 1, "`#[unsafe]`"),
    ("#[unsafe(naked)]\nfn f() {}", 1, "`#[unsafe]`"),
    ("\n#[export_name = \"evolve_build\"]\nfn f() {}", 2, "`#[export_name]`"),
    ("#[link(name = \"c\")]\nfn f() {}", 1, "`#[link]`"),
    ("#[link_section = \".init_array\"]\nstatic F: fn() = f;", 1, "`#[link_section]`"),
    ("#[used]\nstatic F: fn() = f;", 1, "`#[used]`"),
    ("#[target_feature(enable = \"avx2\")]\nfn f() {}", 1, "`#[target_feature]`"),
    ("#[global_allocator]\nstatic A: Mine = Mine;", 1, "`#[global_allocator]`"),
    ("#[panic_handler]\nfn f() {}", 1, "`#[panic_handler]`"),
    ("fn evolve_build() {}", 1, "`evolve_build`"),
    // attributes
    ("#[path = \"/etc/passwd\"]\nmod x {}", 1, "`#[path]`"),
    ("#[cfg_attr(all(), link(name = \"x\"))]\nfn f() {}", 1, "`#[cfg_attr]`"),
    ("#[cfg(not(test))]\nmod tests {}", 1, "`#[cfg]`"),
    ("#[cfg(test, feature = \"x\")]\nmod tests {}", 1, "`#[cfg]`"),
    ("#[cfg(test)]\nmod tests { fn f() { std::process::exit(1); } }", 2, "`std::process`"),
    ("fn f(x: &[u8]) -> u8 { let get = <[u8]>::get_unchecked::<usize>; 1 }", 1, "`get_unchecked`"),
    ("fn f(x: &[u8]) -> u8 { x.get_unchecked(1) }", 1, "`get_unchecked`"),
    ("fn f() {\n#![no_main]\n}", 2, "`#![no_main]`"),
    ("mod m { #![feature(asm)] }", 1, "`#![feature]`"),
    ("#[derive(Debug, Deserialize)]\nstruct S;", 1, "`Deserialize`"),
    ("#[derive(std::fmt::Debug)]\nstruct S;", 1, "`std`"),
    ("#[proc::attribute]\nfn f() {}", 1, "`#[proc]`"),
    ("#[rustc_dummy]\nfn f() {}", 1, "`#[rustc_dummy]`"),
    ("#[doc = include_str!(\"/etc/passwd\")]\nfn f() {}", 1, "`include_str`"),
    // macros
    ("\n\nfn f() { let a = include_str!(\"/etc/passwd\"); }", 3, "`include_str`"),
    ("fn f() { include!(\"/etc/passwd\"); }", 1, "`include!`"),
    ("fn f() { include /* x */ ! {\"/etc/passwd\"} }", 1, "`include!`"),
    ("fn f() { format!(\"{}\", include!(\"/etc/passwd\")); }", 1, "`include!`"),
    ("use include_bytes as vec;", 1, "`include_bytes`"),
    ("use std::prelude::v1::include as vec;", 1, "`std::prelude`"),
    ("use include as vec;\nfn f() { vec!(\"/etc/passwd\"); }", 1, "`as vec`"),
    ("use {env as format};", 1, "`as format`"),
    ("use println as write;", 1, "`as write`"),
    ("fn f() { env!(\"HOME\"); }", 1, "`env!`"),
    ("fn f() { option_env ! (\"HOME\"); }", 1, "`option_env`"),
    ("fn f() { std::env!(\"HOME\"); }", 1, "`env!`"),
    ("fn f() { println!(\"x\"); }", 1, "`println!`"),
    ("fn f() { std::println!(\"x\"); }", 1, "`println!`"),
    ("fn f() { std::eprint!(\"x\"); }", 1, "`eprint!`"),
    ("fn f() { dbg!(1); }", 1, "`dbg!`"),
    ("fn f() { if cfg!(debug_assertions) {} }", 1, "`cfg!`"),
    ("fn f() { kernel_api::secret![]; }", 1, "`secret!`"),
    ("macro_rules! m { () => {} }", 1, "`macro_rules`"),
    ("macro_rules ! m { () => {} }", 1, "`macro_rules`"),
    ("macro m() {}", 1, "`macro`"),
    ("fn f() { concat_idents!(a, b); }", 1, "`concat_idents`"),
    ("fn f() { stringify!($crate::x); }", 1, "`$`"),
    // the standard library
    ("fn f() { std::fs::read(\"x\"); }", 1, "`std::fs`"),
    ("fn f() {\n std :: /* */ process :: exit(0); }", 2, "`std::process`"),
    ("fn f() { ::std::process::abort(); }", 1, "`std::process`"),
    ("fn f() { crate::std::fs::read(\"x\"); }", 1, "`std::fs`"),
    ("fn f() -> core::ffi::c_int { 0 }", 1, "`core::ffi`"),
    ("fn f() { alloc::alloc::alloc(l); }", 1, "`alloc::alloc`"),
    ("use std::{fmt, net::TcpStream};", 1, "`std::net`"),
    ("use std::{\n fmt,\n {rc::Rc, {time::Instant}},\n};", 3, "`std::time`"),
    ("use {std::os::fd::RawFd, kernel_api::Array};", 1, "`std::os`"),
    ("use std::{self as s};", 1, "`std` as a whole"),
    ("use std::{fmt, *};", 1, "`std` as a whole"),
    ("use std::*;", 1, "`std` as a whole"),
    ("use std as s;", 1, "`std` as a whole"),
    ("use ::std as s;", 1, "`std` as a whole"),
    ("use {std as s};", 1, "`std` as a whole"),
    ("use core as c;", 1, "`core` as a whole"),
    ("use std::panic;", 1, "`std::panic`"),
    ("fn f() { hooks::set_hook(Box::new(|_| {})); }", 1, "`set_hook`"),
    ("use std::panic::catch_unwind;", 1, "`std::panic`"),
    ("fn f() { std::panic::resume_unwind(Box::new(1)); }", 1, "`std::panic`"),
    ("fn f() { g::catch_unwind(|| 1); }", 1, "`catch_unwind`"),
    ("fn f() { vec![std::env::var(\"KEY\")]; }", 1, "`std::env`"),
    ("fn f() { std::thread::spawn(|| 1); }", 1, "`std::thread`"),
    ("fn f() { let t = std::time::Instant::now(); }", 1, "`std::time`"),
    ("use std::io::Write as _;", 1, "`std::io`"),
    ("impl F for <std::fs::File as G>::H {}", 1, "`std::fs`"),
    // the harness's side of the kernel API
    ("fn f(a: mlx::Array) { host::wrap(a); }", 1, "`host`"),
    ("fn f(a: mlx::Array) { kernel_api::host::wrap(a); }", 1, "`host`"),
    ("fn f() { use kernel_api as k; k :: host :: take_failure(); }", 1, "`host`"),
    ("use kernel_api::host;", 1, "`host`"),
    ("use kernel_api::{Array, host as h};", 1, "`host`"),
    ("use kernel_api::{Array, host::{wrap, into_mlx}};", 1, "`host`"),
    ("use host as h;", 1, "`host`"),
    ("fn f(l: &Layer) { MlxLmLora::new(l); }", 1, "`MlxLmLora`"),
    ("use kernel_api::MlxLmLora as Mine;", 1, "`MlxLmLora`"),
    // structure
    ("mod other;", 1, "`mod other;`"),
    ("pub(crate) mod other /* */ ;", 1, "`mod other;`"),
    ("fn r#fn() {}", 1, "raw identifier"),
    ("fn f() { r#unsafe(); }", 1, "raw identifier"),
    ("fn f<'r#a>() {}", 1, "raw identifier"),
    ("fn größe() {}", 1, "ASCII"),
    ("fn f() { let ｕnsafe = 1; }", 1, "ASCII"),
    ("fn f<'ä>() {}", 1, "ASCII"),
    ("fn f() { 🦀(); }", 1, "ASCII"),
    ("fn f() { let x\u{2028}= 1; }", 1, "invisible"),
    ("fn f() {}\n\n \n \u{a0}\u{2029}\n", 4, "`\\u{a0}`"),
    ("fn f() {}\n\n \n \u{2029}\n", 4, "invisible"),
    ("fn f() {}\n// \u{202e} txet", 2, "direction"),
    ("fn f() -> &'static str {\n\"\u{2066}\" }", 2, "direction"),
    ("fn f() { foo\"bar\"; }", 1, "before a quote"),
    ("fn f() { let x = 'a; }\n/*", 2, "on its own"),
    ("}\nfn g() {", 1, "on its own"),
    ("fn g() {\n {", 2, "on its own"),
    ("fn f() { (] }", 1, "on its own"),
    ("fn f() { \"open", 1, "on its own"),
    ("fn f() { r#\"open\"", 1, "on its own"),
];

/// Blocks that honest kernels have.
const PASSED: &[&str] = &[
    // a GPU's own code, which is text, and groups
    "use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};\n\
     const SOURCE: &str = \"asm volatile(\\\"nop;\\\"); unsafe: y[0] = *(device const float*)x;\";\n\
     fn f() -> Result<GpuKernel> { assert!(gpu::backend() == Backend::Cuda); GpuKernel::new(\"f\", &[\"x\"], &[\"y\"], \"\", SOURCE) }",
    "impl KernelGroup for S { fn forward(&self, x: &Array, all: &[Adapter]) -> Result<Vec<Array>> { todo!() } }",
    "",
    "fn scale() -> f32 { 3.0 }",
    "/// Twice: `unsafe { std::fs::read }`, größer, 🦀.\n#[inline]\nfn scale() -> f32 { f32::sqrt(4.0) }",
    "//! unsafe extern asm!\n/* macro_rules! /* nested */ */ fn f() {}",
    "/** env!(\"HOME\") */ #[inline(always)] #[must_use = \"it's slow\"] fn f() -> u8 { 1 }",
    "fn f() -> &'static str { \"unsafe { std::fs::read(\\\"größe\\\") }\" }",
    "fn f() -> String { format!(\"{:>8.3} {host} é\", 1.0, host = 2) }",
    "fn f() -> &'static str { r#\"std::process::exit(0) \"quoted\"\"# }",
    "fn f() -> (char, u8, &'static [u8]) { ('ß', b'x', br\"\\unsafe\") }",
    "use std::collections::HashMap;\nfn f() -> usize { HashMap::<u8, u8>::new().len() }",
    "use std::{cell::{Cell, RefCell, OnceCell}, rc::{Rc, Weak}};",
    "use std::collections::{self, BTreeMap, btree_map::{Entry, self}};",
    "use std::sync::{Arc, Mutex, LazyLock, OnceLock, RwLock, atomic::{AtomicU64, Ordering}};",
    "static CACHE: LazyLock<Mutex<HashMap<u64, Vec<f32>>>> = LazyLock::new(|| Mutex::new(HashMap::new()));",
    "static COUNT: AtomicU64 = AtomicU64::new(0); const TABLE: [f32; 4] = [0.0; 4];",
    "thread_local! { static SEEN: Cell<u32> = const { Cell::new(0) }; }",
    "const fn log2(n: u32) -> u32 { 31 - n.leading_zeros() }",
    "fn f<'a>() -> f32 { 'outer: loop { loop { break 'outer } } 'x' as u8 as f32 }",
    "mod inner { pub fn env() -> u8 { 1 } pub(super) mod deeper { use super::env; } }\nfn f() -> u8 { inner::env() }",
    "fn f() { let host = 1; let path = host; let link = path; let used = link; let _ = (host, used); }",
    "struct Context { host: u32, path: Vec<u8>, env: f32 } fn f(c: &Context) -> f32 { c.env + c.host as f32 }",
    "fn f(union: f32, include: f32) -> f32 { if union != include { union as f32 } else { include } }",
    "fn f(a: &Array) -> Result<Array> { let std = a.clone(); let core = 2.0; std * core }",
    "fn f(x: &[f32]) -> f32 { let std = x[0]; std as f32 + std.sqrt() }",
    "#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]\nstruct S;",
    "#[derive(Default)] enum Mode { #[default] Plain, Split { width: u32 } }",
    "#[allow(dead_code, clippy::too_many_arguments)] #[expect(unused, reason = \"kept\")] fn f() {}",
    "#[non_exhaustive] #[repr(u8)] enum E { A = 1 } #[cold] #[track_caller] fn f() {} #[rustfmt::skip] fn g() {}",
    "fn f(x: usize) -> Result<()> { assert!(x > 0, \"x is {x}\"); assert_eq!(x % 4, 0); debug_assert_ne!(x, 7); Ok(()) }",
    "fn f(d: Dtype) -> bool { matches!(d, Dtype::Float16 | Dtype::Bfloat16) && !matches!(d, Dtype::Float32) }",
    "fn f(x: u8) -> u8 { match x { 0 => unreachable!(), 1 => todo!(), 2 => unimplemented!(\"no\"), n => n } }",
    "use std::fmt::{self, Write as _}; fn f(s: &mut String) -> fmt::Result { write!(s, \"{}\", 1)?; writeln!(s) }",
    "fn f(x: bool, y: bool) -> bool { if !x { return !y } while !(x) { break !y; } !x != !y }",
    "fn f() -> Result<Vec<Array>> { let v = vec![1.0_f32; 16]; std::vec![1]; Ok(vec![]) }",
    "fn never() -> ! { std::panic!(\"row {} is missing\", 7) }",
    "trait Form { const N: usize; type Out; fn go(&self) -> Self::Out; } impl<T: Copy, const M: usize> Form for [T; M] where T: Into<f64> { const N: usize = M; type Out = f64; fn go(&self) -> f64 { self[0].into() } }",
    "fn f<'a>(x: &'a [f32]) -> impl Iterator<Item = f32> + use<'a> { x.iter().map(|v| v * 2.0) }",
    "fn f(a: f32, b: &f32) -> f32 { a * *b & 1 }",
    "fn f(a: f32) -> f32 { a * const { 3.0 } }",
    "fn f(raw: &[u8], mut r: u8) -> bool { let a = &raw; let b = &mut r; std::ptr::eq(raw, *a) && *b > 0 }",
    "fn f(x: &mut f32) { *x *= 2.0; std::mem::swap(x, &mut 1.0); let _ = std::mem::take(x); }",
    "fn f() { let kept: &'static mut [f32] = Box::leak(vec![0.0].into_boxed_slice()); kept[0] = std::f32::consts::PI; }",
    "impl Mine { fn matmul_unchecked(&self) -> u8 { 1 } fn go(&self) -> u8 { self.matmul_unchecked() } }",
    "#[cfg(test)]\nmod tests { #[test] fn adds() { assert_eq!(1 + 1, 2); } }",
    "mod whole { #![allow(dead_code)] #![forbid(unsafe_code)] fn f() {} }",
    "struct A { zeroed: u8 } fn f(a: A, unchecked_rows: u8) -> bool { let zeroed = a.zeroed; let transmuted = zeroed; transmuted != unchecked_rows }",
    "fn zeroed(n: usize) -> Vec<f32> { vec![0.0; n] } fn f() -> Vec<f32> { zeroed(3) }",
    "use kernel_api::transform::{Function, checkpoint, compile, custom_vjp}; use kernel_api::ops;",
    "use kernel_api::{Array as A, Dtype::{self, Float32}}; use self::inner::Thing as Other;",
    "fn f(w: &QuantizedWeight) -> Result<Function> { let w = w.clone(); Ok(compile(move |i: &[Array]| Ok(vec![w.matmul(&i[0])?]))) }",
    "impl Drop for Mine { fn drop(&mut self) { self.open.set(false); } }",
    "fn f() -> Box<dyn Fn(&[f32]) -> Option<f32> + Send + 'static> { Box::new(|x| x.first().copied()) }",
    "async fn f() {} fn g() -> u8 { let Some(x) = Some(1) else { return 0 }; let (a, .., b) = (1, 2, 3); a + b + x }",
    "fn f() -> Vec<Vec<Vec<Option<Result<u8, Box<dyn std::error::Error>>>>>> { Vec::new() }",
    "fn f(x: u64) -> u64 { x >> 2 << 3 & 0xFF_u64 ^ 0b1010 | 1_000 + 1e3 as u64 + 2.5e-3_f32 as u64 }",
    "fn f() -> std::result::Result<(), std::num::ParseIntError> { \"1\".parse::<u8>().map(drop) }",
    "fn module() -> &'static str { concat!(\"a\", 1, stringify!(x + 1)) }",
    "type Pair<A, B = A> = (A, B); pub(crate) struct Wrapper<T>(pub T); impl<T> std::ops::Deref for Wrapper<T> { type Target = T; fn deref(&self) -> &T { &self.0 } }",
];

#[test]
fn everything_forbidden_is_refused_with_its_line_and_reason() {
    for (block, line, words) in REFUSED {
        let refusal = verdict_on(block).expect_err(block);
        assert!(refusal.reason.contains(words), "{block}: {refusal}");
        assert_eq!(refusal.line, Some(FIRST + line - 1), "{block}: {refusal}");
    }
}

#[test]
fn honest_kernels_pass() {
    for block in PASSED {
        assert_eq!(verdict_on(block), Ok(()), "{block}");
    }
    assert_eq!(verdict_on(&PASSED.join("\n")), Ok(()), "all together");
}

#[test]
fn the_tables_are_as_long_as_they_should_be() {
    assert!(REFUSED.len() >= 80 && PASSED.len() >= 40);
}

#[test]
fn the_kernels_of_this_repository_pass_as_they_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["../problems/quantized-lora/initial.rs", "tests/data/initial.rs"] {
        let initial = std::fs::read_to_string(root.join(file)).unwrap();
        let verdict = Gate::new(&initial, Language::Rust, 256 << 10, true).map(drop);
        assert_eq!(verdict, Ok(()), "{file}");
    }
    let good = std::fs::read_to_string(root.join("mlx/runner/tests/kernels/good.rs")).unwrap();
    assert_eq!(verdict_on(good.split("pub fn build").next().unwrap()), Ok(()));
}

#[test]
fn every_reason_says_what_to_do_instead() {
    for (block, _, _) in REFUSED {
        let reason = verdict_on(block).unwrap_err().reason;
        let (what, advice) = reason.split_once(": ").unwrap_or_else(|| panic!("no advice: {reason}"));
        assert!(!what.is_empty() && advice.len() > 8, "{reason}");
    }
}

#[test]
fn nesting_that_would_crash_a_parser_is_refused_without_crashing_us() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("({[", "]})")] {
        let deep = |depth: usize| {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            verdict_on(&format!("fn f() {{\n{open}1{close} }}"))
        };
        let refusal = deep(200_000 / open.len()).unwrap_err();
        assert!(refusal.reason.contains("bytes") || refusal.reason.contains("deep"), "{refusal}");
        let refusal = deep(120_000 / open.len()).unwrap_err();
        assert!(refusal.reason.contains("deep"), "{refusal}");
        assert_eq!(refusal.line, Some(FIRST + 1));
        assert_eq!(deep(198 / open.len()), Ok(()), "{open}");
    }
    let unclosed = "(".repeat(200_000);
    assert!(verdict_on(&unclosed).unwrap_err().reason.contains("deep"));
    assert!(verdict_on(&")".repeat(200_000)).is_err());
    assert!(verdict_on(&format!("/*{}", "/*".repeat(100_000))).is_err());
    assert_eq!(verdict_on(&format!("type T = {}u8{};", "Vec<".repeat(20_000), ">".repeat(20_000))), Ok(()));
}

#[test]
fn the_largest_programs_are_judged_at_once() {
    const BYTES: usize = 255 << 10;
    let fill = |piece: &str| piece.repeat(BYTES / piece.len());
    let nested = |open: &str, inner: &str, close: &str| {
        let depth = 190;
        let rest = (BYTES - depth * (open.len() + close.len())) / inner.len();
        format!("{}{}{}", open.repeat(depth), inner.repeat(rest), close.repeat(depth))
    };
    for (name, block) in [
        ("calls", fill("f!(x);\n")),
        ("honest", fill("fn f(x: &Array) -> Result<Array> { x.add(x)?.t() }\n")),
        ("use", fill("use ")),
        ("imports", fill("use std::fmt;\n")),
        ("groups", nested("use std::{", "fmt, ", "}")),
        ("inner groups", nested("{", "use std::{fmt};", "}")),
        ("libraries", format!("use std::{{{}}};", nested("fmt::{std::{", "rc, ", "}}"))),
        ("derives", nested("#[derive(", "Debug, ", ")]")),
        ("attributes", fill("#[inline]\n")),
        ("marks", fill("#")),
        ("bangs", fill("a!")),
        ("stars", fill("*")),
        ("colons", fill("std::")),
        ("functions", fill("fn zeroed() {}")),
        ("quotes", fill("\"")),
        ("lines", fill("\n")),
        ("raw strings", fill("r#")),
        ("one name", fill("a")),
    ] {
        let program = program(&block);
        let gate = gate();
        let fastest = (0..3)
            .map(|_| {
                let started = Instant::now();
                let _ = gate.pass(&program);
                started.elapsed()
            })
            .min();
        // Optimised it is a tenth of that; anything quadratic would take many seconds.
        let limit =
            if cfg!(debug_assertions) { Duration::from_millis(600) } else { Duration::from_millis(50) };
        assert!(fastest < Some(limit), "{name}: {fastest:?}");
    }
}

#[test]
fn a_change_outside_the_block_is_refused_at_its_line() {
    let gate = gate();
    let refusal = gate.pass(&INITIAL.replace("Ok(Box", "  Ok(Box")).unwrap_err();
    assert_eq!(refusal.line, Some(5));
    assert!(refusal.reason.contains("EVOLVE-BLOCK"));
    let longer = INITIAL.replace("{ 2.0 }", "{\n 2.0\n }").replace("Ok(Box", "  Ok(Box");
    assert_eq!(gate.pass(&longer).unwrap_err().line, Some(7));
}

#[test]
fn missing_markers_size_and_nul_are_refused() {
    let gate = Gate::new(INITIAL, Language::Rust, INITIAL.len() + 5, true).unwrap();
    assert!(gate.pass("fn f() {}").unwrap_err().reason.contains("no EVOLVE-BLOCK"));
    let long = INITIAL.replace("2.0", "2.000000000000");
    assert!(gate.pass(&long).unwrap_err().reason.contains("bytes"));
    assert_eq!(gate.pass(&INITIAL.replace("2.0", "\0")).unwrap_err().line, Some(3));
}

#[test]
fn other_languages_are_only_held_to_their_blocks() {
    let initial = "import os\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n";
    let gate = Gate::new(initial, Language::Python, 1_000, false).unwrap();
    assert_eq!(gate.pass(&initial.replace("x = 1", "x = '''unsafe")), Ok(()));
    assert!(gate.pass(&initial.replace("import os", "import sys")).is_err());
}

/// The block written otherwise: what stands between any two tokens that may be separated becomes `space`.
fn rewritten(block: &str, space: &str) -> String {
    let mut text = String::new();
    let mut start = 0;
    for token in rustc_lexer::tokenize(block, rustc_lexer::FrontmatterAllowed::No) {
        let piece = &block[start..start + token.len as usize];
        start += piece.len();
        match token.kind {
            rustc_lexer::TokenKind::Whitespace if piece.is_ascii() => text.push_str(space),
            rustc_lexer::TokenKind::LineComment { doc_style: None } if piece.is_ascii() => {
                text.push_str(space);
            }
            _ => text.push_str(piece),
        }
        // Before these a space changes nothing.
        if block[start..].starts_with(['(', '[', '{', ')', ']', '}', '!', ';', ','])
            && !piece.ends_with(['#', '!'])
        {
            text.push_str(space);
        }
    }
    text
}

/// A piece of Rust, or of what looks like it.
fn piece() -> impl Strategy<Value = String> {
    let known: Vec<&'static str> =
        REFUSED.iter().map(|(block, ..)| *block).chain(PASSED.iter().copied()).collect();
    let words = "use std core :: { } ( ) [ ] < > ! # ; , as * & = $ ' \" /* */ // unsafe host env include vec fn mod \
                 static mut union raw const derive inline Debug \u{202e} é \\ r# b' 'a 1.0 \n";
    let words: Vec<&'static str> = words.split(' ').collect();
    prop_oneof![
        2 => proptest::sample::select(known).prop_map(str::to_owned),
        8 => proptest::sample::select(words).prop_map(|word| format!("{word} ")),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_text_gets_a_verdict_and_the_line_is_there(pieces in prop::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        let gate = gate();
        let mut programs = vec![text.clone()];
        programs.extend(block::parse(INITIAL).unwrap().splice(&[text]).ok());
        for program in programs {
            if let Err(refusal) = gate.pass(&program) {
                let last = program.split('\n').count() as u32;
                prop_assert!(refusal.line.is_none_or(|line| (1..=last).contains(&line)), "{refusal:?}");
                prop_assert!(!refusal.reason.is_empty());
            }
        }
    }

    #[test]
    fn spaces_and_comments_change_no_verdict(
        index in 0..REFUSED.len() + PASSED.len(),
        space in prop::sample::select(vec![" ", "\n", "\t\n  ", " /* unsafe */ ", " // x(\n", "\r\n", " /* /* \" */ */ "]),
    ) {
        let block = REFUSED.get(index).map_or_else(|| PASSED[index - REFUSED.len()], |(block, ..)| block);
        let (plain, other) = (verdict_on(block), verdict_on(&rewritten(block, space)));
        let reason = |verdict: Result<(), Refusal>| verdict.err().map(|refusal| refusal.reason);
        prop_assert_eq!(reason(plain), reason(other), "{}", rewritten(block, space));
    }

    #[test]
    fn lines_above_move_the_refusal_and_nothing_else(index in 0..REFUSED.len(), lines in 0_u32..40) {
        let (block, line, _) = REFUSED[index];
        let mut moved = String::new();
        for number in 0..lines {
            writeln!(moved, "const C{number}: &str = \"\\\n \"; // {number}").unwrap();
        }
        moved.push_str(block);
        prop_assert_eq!(verdict_on(&moved).unwrap_err().line, Some(FIRST + line - 1 + 2 * lines));
    }
}
