//! Are raw frames read as encoded, and sent exactly when the other end accepts them? The checks
//! are those of the fuzz target.
#![cfg(test)]

use proptest::prelude::*;

#[path = "../fuzz/src/frames.rs"]
#[expect(unreachable_pub, reason = "it is a module of another crate")]
mod frames;
#[path = "../fuzz/src/input.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a module of another crate")]
mod input;

use input::{Cuts, Input};

/// Bytes that often are valid frames.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(0x81),
        Just(0x01),
        Just(0x80),
        Just(0x00),
        Just(0x82),
        Just(0x89),
        any::<u8>()
    ];
    let masked = any::<bool>();
    let frame = (first, masked, prop::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(first, masked, payload)| {
            let mut frame = vec![first, payload.len() as u8 | if masked { 0x80 } else { 0 }];
            if masked {
                frame.extend([0; 4]);
            }
            frame.extend(payload);
            frame
        },
    );
    prop::collection::vec(frame, 1..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames_are_what_the_bytes_say(head in any::<[u8; 8]>(), wire in frame_like()) {
        let mut input = head.to_vec();
        input[1] = 0;
        input.extend(wire);
        frames::check(&input);
    }

    #[test]
    fn crafted_frames_are_sent_when_they_would_be_taken(
        head in any::<[u8; 3]>(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut input = head.to_vec();
        input[1] = 1;
        input.extend(rest);
        frames::check(&input);
    }
}

#[test]
fn the_seeds_hold() {
    for seed in std::fs::read_dir("fuzz/seeds/frames").unwrap() {
        frames::check(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}
