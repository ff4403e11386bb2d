//! How is a payload masked and unmasked, fast and without `unsafe`?

/// A masking key, rotated to the next byte (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask([u8; 4]);

impl Mask {
    /// The mask of a key.
    pub const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// An unpredictable mask (§10.3).
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key, rotated to the next byte.
    pub const fn key(self) -> [u8; 4] {
        self.0
    }

    /// The key, twice.
    #[inline]
    const fn word(self) -> u64 {
        let word = u32::from_ne_bytes(self.0) as u64;
        word << 32 | word
    }

    /// The mask for the byte that follows `bytes` more bytes.
    #[must_use]
    pub const fn skip(self, bytes: usize) -> Self {
        let key = u32::from_le_bytes(self.0);
        Self(key.rotate_right(8 * (bytes % 4) as u32).to_le_bytes())
    }
}

/// Masks `payload` in place. Returns the mask for the bytes after it. Unmasking is the same
/// operation.
///
/// The compiler turns the loop over words into vector instructions.
#[inline]
pub fn mask(payload: &mut [u8], mask: Mask) -> Mask {
    let word = mask.word();
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    mask_end(rest, mask);
    mask.skip(payload.len())
}

/// Masks a short payload in place. Returns whether the result is ASCII.
#[inline]
pub(crate) fn mask_short(payload: &mut [u8], mask: Mask) -> bool {
    let word = mask.word();
    let mut seen = 0;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        let plain = u64::from_ne_bytes(*bytes) ^ word;
        seen |= plain;
        *bytes = plain.to_ne_bytes();
    }
    let end_is_ascii = mask_end(rest, mask);
    end_is_ascii && seen & 0x8080_8080_8080_8080 == 0
}

/// Masks fewer than eight bytes. Returns whether the result is ASCII.
#[inline]
fn mask_end(rest: &mut [u8], mask: Mask) -> bool {
    let mut seen = 0;
    let (word, rest) = rest.as_chunks_mut::<4>();
    for bytes in word {
        let plain = u32::from_ne_bytes(*bytes) ^ u32::from_ne_bytes(mask.0);
        seen |= plain;
        *bytes = plain.to_ne_bytes();
    }
    let mut last = 0;
    for (byte, key) in rest.iter_mut().zip(mask.0) {
        *byte ^= key;
        last |= *byte;
    }
    seen & 0x8080_8080 == 0 && last & 0x80 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
        payload.iter().enumerate().map(|(n, byte)| byte ^ key[n % 4]).collect()
    }

    proptest! {
        #[test]
        fn masking_follows_the_rfc_however_the_payload_is_split(
            payload in prop::collection::vec(any::<u8>(), 0..300), key: [u8; 4], cut: usize,
        ) {
            let mut masked = payload.clone();
            let (head, tail) = masked.split_at_mut(cut.min(payload.len()));
            let turned = mask(head, Mask::new(key));
            mask(tail, turned);
            prop_assert_eq!(masked, naive(&payload, key));
        }

        #[test]
        fn short_masking_equals_masking_and_detects_ascii(
            payload in prop::collection::vec(any::<u8>(), 0..40), ascii: bool, key: [u8; 4],
        ) {
            let limit = if ascii { 0x7f } else { 0xff };
            let plain: Vec<u8> = payload.iter().map(|byte| byte & limit).collect();
            let mut masked = naive(&plain, key);
            prop_assert_eq!(mask_short(&mut masked, Mask::new(key)), plain.is_ascii());
            prop_assert_eq!(masked, plain);
        }

        #[test]
        fn masking_twice_is_the_identity(payload in prop::collection::vec(any::<u8>(), 0..300), key: [u8; 4]) {
            let mut masked = payload.clone();
            mask(&mut masked, Mask::new(key));
            mask(&mut masked, Mask::new(key));
            prop_assert_eq!(masked, payload);
        }
    }
}
