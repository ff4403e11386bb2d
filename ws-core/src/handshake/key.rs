//! How are `Sec-WebSocket-Key` generated and `Sec-WebSocket-Accept` computed?

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::sha1::sha1;

/// The suffix that is hashed with the key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Accepts any unused bits in the last character. They are not zero in the example of RFC 6455
/// §4.1.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A `Sec-WebSocket-Key`: 16 random bytes.
pub(super) fn generate() -> String {
    BASE64.encode(rand::random::<[u8; 16]>())
}

/// Whether the key decodes to 16 bytes (RFC 6455 §4.2.1).
pub(super) fn is_valid(key: &[u8]) -> bool {
    // The decoder requires 18 bytes for 24 characters, because it has not seen the padding.
    let mut nonce = [0; 18];
    matches!(BASE64.decode_slice(key, &mut nonce), Ok(16))
}

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455 §4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    BASE64.encode(sha1(&[key, GUID.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_matches_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_16_bytes_are_a_key() {
        let check = |key: &str, valid| assert_eq!(is_valid(key.as_bytes()), valid, "{key}");
        check("dGhlIHNhbXBsZSBub25jZQ==", true);
        check("AQIDBAUGBwgJCgsMDQ4PEC==", true); // the example of RFC 6455 §4.1
        check("", false);
        check("AAAAAAAAAAAAAAAAAAAA", false); // 15 bytes
        check("AAAAAAAAAAAAAAAAAAAAAAA=", false); // 17 bytes
        check("AAAAAAAAAAAAAAAAAAAAAAAA", false); // 18 bytes
        check("AAAAAAAAAAAAAAAAAAAAAA", false); // no padding
        check("dGhlIHNhbXBsZSBub25jZ!==", false);
        check("dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", false);
    }

    #[test]
    fn generated_keys_are_valid_and_differ() {
        assert!(is_valid(generate().as_bytes()));
        assert_ne!(generate(), generate());
    }
}
