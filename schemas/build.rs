//! Compiles the protobuf schema, and keeps its descriptors so that the schema can be served.

use std::io::Result;
use std::path::PathBuf;

fn main() -> Result<()> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    println!("cargo::rerun-if-changed=proto");
    prost_build::Config::new()
        .file_descriptor_set_path(out.join("tributary.v1.bin"))
        .compile_protos(&["proto/tributary/v1/event.proto"], &["proto"])
}
