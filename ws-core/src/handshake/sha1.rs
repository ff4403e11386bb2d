//! How is the SHA-1 hash of a handshake key computed (RFC 3174)?
//!
//! The hash protects nothing: it shows that the server has understood the request (RFC 6455 §1.3).

const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The hash of a short message.
pub(super) fn sha1(message: &[u8]) -> [u8; 20] {
    let bits = (message.len() as u64).wrapping_mul(8);
    let mut padded = message.to_vec();
    padded.push(0x80);
    // Room for the length, at the end of a block.
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend(bits.to_be_bytes());
    let (blocks, _) = padded.as_chunks::<64>();
    let state = blocks.iter().fold(INITIAL, add_block);
    let mut hash = [0; 20];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

fn add_block(state: [u32; 5], block: &[u8; 64]) -> [u32; 5] {
    let mut words = [0; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for i in 0..64 {
        let part = words.get_mut(i..i + 17);
        if let Some([w0, _, w2, _, _, _, _, _, w8, _, _, _, _, w13, _, _, w16]) = part {
            *w16 = (*w13 ^ *w8 ^ *w2 ^ *w0).rotate_left(1);
        }
    }
    let (quarters, _) = words.as_chunks::<20>();
    let [first, second, third, fourth] = *quarters else { return state };
    // In loops of their own, so that no round chooses its function.
    let next = rounds(state, first, 0x5a82_7999, |b, c, d| d ^ (b & (c ^ d)));
    let next = rounds(next, second, 0x6ed9_eba1, |b, c, d| b ^ c ^ d);
    let next = rounds(next, third, 0x8f1b_bcdc, |b, c, d| (b & c) | (d & (b | c)));
    let [a, b, c, d, e] = rounds(next, fourth, 0xca62_c1d6, |b, c, d| b ^ c ^ d);
    let [h0, h1, h2, h3, h4] = state;
    [
        h0.wrapping_add(a),
        h1.wrapping_add(b),
        h2.wrapping_add(c),
        h3.wrapping_add(d),
        h4.wrapping_add(e),
    ]
}

/// Twenty rounds with one function and one constant.
#[inline]
fn rounds(
    [mut a, mut b, mut c, mut d, mut e]: [u32; 5],
    words: [u32; 20],
    k: u32,
    f: impl Fn(u32, u32, u32) -> u32,
) -> [u32; 5] {
    for word in words {
        let sum = [f(b, c, d), e, k, word].into_iter().fold(a.rotate_left(5), u32::wrapping_add);
        (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
    }
    [a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest as _, Sha1};

    use super::*;

    proptest! {
        #[test]
        fn the_hash_is_that_of_the_sha1_crate(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(sha1(&message), <[u8; 20]>::from(Sha1::digest(&message)));
        }
    }

    #[test]
    fn messages_around_the_end_of_a_block_are_padded() {
        for length in [0, 55, 56, 63, 64, 119, 120, 128] {
            let message = vec![b'a'; length];
            assert_eq!(sha1(&message), <[u8; 20]>::from(Sha1::digest(&message)), "{length}");
        }
    }
}
