//! How large is a program for browsers that does nothing?
#![cfg(target_arch = "wasm32")]

use wasm_bindgen::prelude::wasm_bindgen;

/// The program.
#[wasm_bindgen]
pub async fn run(url: String) -> Result<String, String> {
    if url.is_empty() { Err("no URL".to_owned()) } else { Ok(url) }
}
