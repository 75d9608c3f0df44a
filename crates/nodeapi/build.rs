//! Generates the gRPC code; the compiler for `.proto` files is a library, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(
        [
            "proto/nodeapi.proto",
            "proto/node.proto",
            "proto/services.proto",
            "proto/policy.proto",
            "proto/drops.proto",
            "proto/flows.proto",
            "proto/paths.proto",
            "proto/traces.proto",
        ],
        ["proto"],
    )?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    Ok(())
}
