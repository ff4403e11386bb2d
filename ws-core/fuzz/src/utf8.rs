//! Does validation in pieces agree with the standard library?

use ws_core::utf8::Utf8;

use crate::Input;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut cuts = input.cuts();
    let text = input.rest();

    let mut utf8 = Utf8::new();
    let (mut seen, mut rest) = (0, text);
    while !rest.is_empty() {
        let piece = cuts.split(&mut rest);
        seen += piece.len();
        let could_go_on = match std::str::from_utf8(&text[..seen]) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        };
        assert_eq!(utf8.push(piece).is_ok(), could_go_on, "after {seen} bytes");
        if !could_go_on {
            return;
        }
    }
    assert_eq!(utf8.finish().is_ok(), std::str::from_utf8(text).is_ok(), "at the end");
    assert!(utf8.push(b"a").is_ok() && utf8.finish().is_ok(), "not ready for another text");
}
