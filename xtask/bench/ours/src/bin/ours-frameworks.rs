//! How fast is the server of this workspace through axum and warp?

fn main() -> anyhow::Result<()> {
    ours::serve_frameworks(kit::Options::of_process(), ours::echo)
}
