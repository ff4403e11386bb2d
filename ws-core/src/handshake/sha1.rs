//! How is the SHA-1 hash of a handshake key computed (RFC 3174)?
//!
//! The hash protects nothing: it shows that the server has understood the request (RFC 6455 §1.3).

const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The hash of a short message.
pub(super) fn sha1(message: &[u8]) -> [u8; 20] {
    let bits = (message.len() as u64).wrapping_mul(8);
    let (blocks, rest) = message.as_chunks::<64>();
    let state = blocks.iter().fold(INITIAL, |state, block| add(state, &schedule(block)));
    // Behind the message: a bit that is set, zeros, and the length at the end of a block.
    let mut block = [0; 64];
    if let Some((start, [next, ..])) = block.split_at_mut_checked(rest.len()) {
        start.copy_from_slice(rest);
        *next = 0x80;
    }
    let state = match rest.len() < LENGTH_AT {
        true => add(state, &schedule(&with_length(block, bits))),
        false => {
            let state = add(state, &schedule(&block));
            match bits {
                HANDSHAKE_BITS => add(state, &LAST_OF_HANDSHAKE),
                bits => add(state, &schedule(&with_length([0; 64], bits))),
            }
        }
    };
    let mut hash = [0; 20];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

/// Where the length is in the last block.
const LENGTH_AT: usize = 56;

/// The length of what a handshake hashes: a key of 24 characters and a suffix of 36.
const HANDSHAKE_BITS: u64 = 60 * 8;

/// The words of the last block of a handshake, which has only the length: computed once.
static LAST_OF_HANDSHAKE: [u32; 80] = schedule(&with_length([0; 64], HANDSHAKE_BITS));

const fn with_length(mut block: [u8; 64], bits: u64) -> [u8; 64] {
    if let Some((_, length)) = block.split_last_chunk_mut() {
        *length = bits.to_be_bytes();
    }
    block
}

/// The words of the rounds of a block.
#[expect(clippy::indexing_slicing, reason = "constant bounds, and `get` is not const")]
const fn schedule(block: &[u8; 64]) -> [u32; 80] {
    let mut words = [0; 80];
    let (parts, _) = block.as_chunks::<4>();
    let mut i = 0;
    while i < parts.len() {
        words[i] = u32::from_be_bytes(parts[i]);
        i += 1;
    }
    while i < words.len() {
        words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        i += 1;
    }
    words
}

fn add(state: [u32; 5], words: &[u32; 80]) -> [u32; 5] {
    let (quarters, _) = words.as_chunks::<20>();
    let [first, second, third, fourth] = quarters else { return state };
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
    words: &[u32; 20],
    k: u32,
    f: impl Fn(u32, u32, u32) -> u32,
) -> [u32; 5] {
    for word in words {
        let sum = [f(b, c, d), e, k, *word].into_iter().fold(a.rotate_left(5), u32::wrapping_add);
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
        for length in [0, 55, 56, 60, 63, 64, 119, 120, 124, 128] {
            let message = vec![b'a'; length];
            assert_eq!(sha1(&message), <[u8; 20]>::from(Sha1::digest(&message)), "{length}");
        }
    }
}
