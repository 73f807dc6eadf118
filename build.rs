//! Turns the protocol files into Rust for the NRI plugin and its tests, and tells the linker which code a hook does not
//! need (see `layout/`).

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=proto");
    lay_out();
    #[cfg(feature = "nri")]
    generate();
}

/// For static binaries: the code of a hook side by side, and relocations packed (a fortieth of the size, all of which is
/// read at every start).
fn lay_out() {
    println!("cargo:rerun-if-changed=layout");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    // The C compiler as linker driver takes the option in this form; of another linker nothing is known.
    let driver = var("RUSTC_LINKER").map_or(true, |linker| linker.contains("gcc") || linker.ends_with("cc"));
    if driver && var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        let root = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        for option in [format!("-T,{root}/layout/hot.ld"), format!("-T,{root}/layout/cold.ld")] {
            println!("cargo:rustc-link-arg-bin=oci-ipc-hook=-Wl,{option}");
        }
        // Elsewhere old linkers write them in a form that no C library reads.
        if var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
            println!("cargo:rustc-link-arg-bin=oci-ipc-hook=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// Pure Rust: no protoc needed.
#[cfg(feature = "nri")]
fn generate() {
    let mut files = vec!["proto/nri.proto"];
    if cfg!(feature = "kubernetes-tests") {
        files.push("proto/cri.proto");
    }
    let customize = protobuf_codegen::Customize::default().lite_runtime(true);
    let mut codegen = protobuf_codegen::Codegen::new();
    codegen.pure().include("proto").inputs(files).customize(customize).cargo_out_dir("proto");
    if let Err(error) = codegen.run() {
        eprintln!("protocol files: {error:#}");
        std::process::exit(1);
    }
}
