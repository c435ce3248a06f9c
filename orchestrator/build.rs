//! Templates and rules are built into the program; a new file among them must lead to a new build.

fn main() {
    #[allow(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]
    {
        println!("cargo:rerun-if-changed=../prompts");
        println!("cargo:rerun-if-changed=build.rs");
    }
}
