//! Generates the messages and services from `proto/ashlar/v1`.

fn main() -> std::io::Result<()> {
    let root = std::path::Path::new("proto");
    let files = ["common", "metadata", "datanode", "raft", "admin", "jobs", "examine", "policies"]
        .map(|name| root.join(format!("ashlar/v1/{name}.proto")));
    tonic_prost_build::configure()
        .bytes(".ashlar.v1.PutInline.content")
        // Secrets: `src/secret.rs` shows them as such.
        .skip_debug([".ashlar.v1.Token", ".ashlar.v1.TokenKey"])
        .compile_protos(&files, &[root.to_path_buf()])
}
