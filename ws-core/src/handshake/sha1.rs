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
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for round in 0..80 {
        let (f, k) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = words;
        let sum = [f, e, k, w0].into_iter().fold(a.rotate_left(5), u32::wrapping_add);
        (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        let w16 = (w13 ^ w8 ^ w2 ^ w0).rotate_left(1);
        words = [w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15, w16];
    }
    let [h0, h1, h2, h3, h4] = state;
    [
        h0.wrapping_add(a),
        h1.wrapping_add(b),
        h2.wrapping_add(c),
        h3.wrapping_add(d),
        h4.wrapping_add(e),
    ]
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
