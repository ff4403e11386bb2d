//! Does a pattern allow exactly the origins that it describes?

use http::Request;
use ws_core::handshake::{AcceptOptions, Acceptor, Origin, Rejection};

use crate::Input;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (settings, len) = (input.byte(), input.size());
    let pattern = String::from_utf8_lossy(input.take(len)).into_owned();
    let origin = input.rest();
    // Any bytes have an answer.
    is_allowed(&pattern, origin);
    if settings & 1 == 0 {
        return;
    }
    let scheme = ["http", "https", "tauri"][usize::from(settings >> 1) % 3];
    let port = [None, Some(80), Some(443), Some(8080)][usize::from(settings >> 3) % 4];
    // Letters, digits and dots are a host.
    let host: String = origin
        .iter()
        .map(|&byte| char::from(b"abcdefgh01.-"[usize::from(byte) % 12]))
        .take(60)
        .collect();
    if host.is_empty() {
        return;
    }
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let spelled = port.map(|port: u16| format!(":{port}")).unwrap_or_default();
    let known = port.filter(|port| Some(*port) != default);
    let known = known.map(|port| format!(":{port}")).unwrap_or_default();
    let text = match pattern.contains("://") {
        true => format!("{scheme}://{host}{known}"),
        false => format!("{host}{known}"),
    };
    let expected = glob(pattern.to_ascii_lowercase().as_bytes(), text.as_bytes());
    let origin = format!("{scheme}://{host}{spelled}");
    assert_eq!(is_allowed(&pattern, origin.as_bytes()), expected, "{pattern}, {origin}");
}

/// Whether a server with this pattern accepts a page of this origin.
fn is_allowed(pattern: &str, origin: &[u8]) -> bool {
    let options = AcceptOptions::new().origin(Origin::patterns([pattern]));
    let request = Request::get("/")
        .header("host", "not-the-same.invalid")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", origin);
    let Ok(request) = request.body(()) else { return false };
    match Acceptor::new(&options).answer(&request) {
        Ok(_) => true,
        Err(Rejection::OriginRefused { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}

/// The definition: `*` stands for any bytes, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Whether the beginning of the pattern matches each beginning of the text.
    let mut matches = vec![false; text.len() + 1];
    matches[0] = true;
    for &byte in pattern {
        if byte == b'*' {
            let first = matches.iter().position(|it| *it).unwrap_or(matches.len());
            matches[first..].fill(true);
        } else {
            for at in (0..text.len()).rev() {
                matches[at + 1] = matches[at] && (byte == b'?' || text[at] == byte);
            }
            matches[0] = false;
        }
    }
    matches[text.len()]
}
