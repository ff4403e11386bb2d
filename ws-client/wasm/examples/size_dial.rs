//! How large is a program for browsers that dials, writes, reads and closes?
#![cfg(target_arch = "wasm32")]

use wasm_bindgen::prelude::wasm_bindgen;
use ws_client::{Dial, StatusCode};

/// The program.
#[wasm_bindgen]
pub async fn run(url: String) -> Result<String, String> {
    let conn = Dial::new(url).connect().await.map_err(|error| error.to_string())?;
    conn.write("hello").await.map_err(|error| error.to_string())?;
    let answer = conn.read().await.map_err(|error| error.to_string())?;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.map_err(|error| error.to_string())?;
    Ok(answer.as_text().unwrap_or_default().to_owned())
}
