//! How fast is the server of this workspace, over bare TCP and through hyper?

fn main() -> anyhow::Result<()> {
    ours::serve_streams(kit::Options::of_process(), ours::echo)
}
