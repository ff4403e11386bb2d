//! How does a WebAssembly module become one that a page can import?
//!
//! `bindgen MODULE.wasm FOLDER` writes `MODULE_bg.wasm` and `MODULE.js` to the folder. The crate
//! `wasm-bindgen-cli` does the same, but takes four times as long to compile.

use std::env::args_os;

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut arguments = args_os().skip(1);
    let module = arguments.next().context("usage: bindgen MODULE.wasm FOLDER")?;
    let folder = arguments.next().context("usage: bindgen MODULE.wasm FOLDER")?;
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .omit_default_module_path(false)
        .typescript(false)
        .generate(folder)
}
