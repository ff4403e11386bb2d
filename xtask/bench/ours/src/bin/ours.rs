//! How fast is our own server, over bare TCP and through hyper?

fn main() -> anyhow::Result<()> {
    ours::serve_streams(kit::Options::of_process(), ours::echo)
}
