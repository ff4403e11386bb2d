//! How fast is the server of this workspace over TLS, bare, and through hyper, axum and warp?

fn main() -> anyhow::Result<()> {
    ours::serve_tls(kit::Options::of_process())
}
