//! On macOS mlx-sys links MLX statically, so this library holds the only copy. Rust exports Rust's symbols alone; but
//! what mlx-rs leaves generic is compiled where it is used, in the trainer and the runner, and calls mlx-c from there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos") {
        println!("cargo::rustc-link-arg=-Wl,-exported_symbol,_mlx_*");
    }
}
