//! How are bytes encoded in base64 (RFC 4648 §4)?

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes bytes, with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        for (place, byte) in word.iter_mut().skip(1).zip(group) {
            *place = *byte;
        }
        let bits = u32::from_be_bytes(word);
        let sextets = [18, 12, 6, 0].map(|shift| (bits >> shift) as usize % ALPHABET.len());
        let mut four = sextets.map(|sextet| ALPHABET.get(sextet).copied().unwrap_or_default());
        four.iter_mut().skip(group.len() + 1).for_each(|byte| *byte = b'=');
        text.extend_from_slice(&four);
    }
    // All of it is ASCII.
    String::from_utf8(text).unwrap_or_default()
}

/// Whether a byte is one of the alphabet.
#[cfg(feature = "server")]
pub(super) fn is_in_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_that_of_the_base64_crate(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(encode(&bytes), STANDARD.encode(&bytes));
        }
    }

    #[test]
    fn the_alphabet_has_64_bytes() {
        let alphabet: Vec<_> = (0..=u8::MAX).filter(|byte| is_in_alphabet(*byte)).collect();
        let mut expected = ALPHABET.to_vec();
        expected.sort_unstable();
        assert_eq!(alphabet, expected);
    }
}
