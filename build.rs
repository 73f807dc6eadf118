//! Turns the protocol files into Rust for the NRI plugin and its tests; without their features there is nothing to do.

fn main() {
    println!("cargo:rerun-if-changed=proto");
    #[cfg(feature = "nri")]
    generate();
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
