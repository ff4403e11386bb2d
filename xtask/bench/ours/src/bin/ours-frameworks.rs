//! How fast is our own server through axum and warp?

fn main() -> anyhow::Result<()> {
    ours::serve_frameworks(kit::Options::of_process(), ours::echo)
}
