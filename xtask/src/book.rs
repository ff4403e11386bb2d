//! Does mdBook build the book?

use std::env;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, workspace};

/// Builds the book with the `mdbook` in `PATH`. Without one, it only prints a note, unless
/// `WS_REQUIRE_PEERS` is set.
pub(crate) fn build() -> Result<()> {
    let is_installed = Command::new("mdbook").arg("--version").output().is_ok();
    if is_installed {
        process::run(Command::new("mdbook").args(["build", "docs"]).current_dir(workspace::root()))
    } else if env::var_os("WS_REQUIRE_PEERS").is_some() {
        bail!("mdbook is not installed: see docs/requirements.txt");
    } else {
        println!("mdbook is not installed, so the book is not built: see docs/requirements.txt");
        Ok(())
    }
}
