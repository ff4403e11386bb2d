//! How are `Sec-WebSocket-Key` generated and `Sec-WebSocket-Accept` computed?

use super::base64::encode;
use super::sha1::sha1;

/// The suffix that is hashed with the key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A `Sec-WebSocket-Key`: 16 random bytes.
pub(super) fn generate() -> String {
    encode(&rand::random::<[u8; 16]>())
}

/// Whether the key decodes to 16 bytes (RFC 6455 §4.2.1). The last character before the padding may
/// have unused bits that are not zero, as in the example of §4.1.
#[cfg(feature = "server")]
pub(super) fn is_valid(key: &[u8]) -> bool {
    let encoded = key.strip_suffix(b"==").unwrap_or_default();
    encoded.len() == 22 && encoded.iter().all(|byte| super::base64::is_in_alphabet(*byte))
}

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455 §4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    encode(&sha1(&[key, GUID.as_bytes()].concat()))
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
