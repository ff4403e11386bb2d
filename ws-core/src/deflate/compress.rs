//! How is a message compressed, with or without context takeover?

use flate2::{Compress, CompressError, Compression, FlushCompress};

use super::{DeflateError, TAIL, pool::StatePool};

thread_local! {
    /// Up to 372 KiB each.
    static POOL: StatePool<Box<ZlibState>, 2> = const { StatePool::new() };
}

/// Compresses the messages of one direction.
///
/// It allocates on first use. With context takeover it then holds 244 KiB and four times the
/// window, 372 KiB at most. Without, it holds nothing between messages.
#[derive(Debug)]
pub struct Deflater {
    state: Option<Box<ZlibState>>,
    level: u8,
    window_bits: u8,
    context_takeover: bool,
    /// The number of bytes pushed since the message began or was flushed.
    pushed: usize,
}

/// A compressor of zlib, with its settings.
#[derive(Debug)]
struct ZlibState {
    zlib: Compress,
    level: u8,
    window_bits: u8,
}

impl Deflater {
    /// Compresses with a window of `2^window_bits` bytes (8 to 15) at a `level` from
    /// 0 (stored) to 9 (small), and refers to earlier messages if there is
    /// `context_takeover`.
    pub const fn new(window_bits: u8, context_takeover: bool, level: u8) -> Self {
        // zlib does not support 8. With 9 it looks back 250 bytes at most, because it reserves 262
        // of its 512 for the longest match. A window of 256 can decompress that. Tests check it.
        let window_bits = match window_bits {
            0..=9 => 9,
            10..=15 => window_bits,
            16.. => 15,
        };
        let level = if level > 9 { 9 } else { level };
        Self { state: None, level, window_bits, context_takeover, pushed: 0 }
    }

    /// The settings that determine the output for this level without context takeover: the level
    /// and the window bits.
    pub const fn settings(&self, level: u8) -> (u8, u8) {
        (level, self.window_bits)
    }

    /// Compresses a whole message and appends it to `output`, whose capacity may then slightly
    /// exceed the length of `payload`.
    ///
    /// # Errors
    ///
    /// When zlib fails. `output` is unchanged, so the message can be sent uncompressed.
    pub fn compress(&mut self, payload: &[u8], output: &mut Vec<u8>) -> Result<(), DeflateError> {
        let start = output.len();
        let done = self.push(payload, output).and_then(|()| self.finish(output));
        if done.is_err() {
            output.truncate(start);
        }
        done
    }

    /// As [`compress`](Self::compress), at this level.
    ///
    /// # Errors
    ///
    /// As `compress`.
    pub fn compress_at(
        &mut self,
        level: u8,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), DeflateError> {
        let default_level = self.level;
        self.set_level(level.min(9));
        let done = self.compress(payload, output);
        self.set_level(default_level);
        done
    }

    /// Sets the level from the next message on. zlib holds no output back between messages, so
    /// nothing has to be flushed.
    pub(crate) fn set_level(&mut self, level: u8) {
        if level == self.level {
            return;
        }
        self.level = level;
        if let Some(state) = &mut self.state
            && state.zlib.set_level(Compression::new(level.into())).is_err()
        {
            self.state = None;
        }
    }

    /// The level of the next message.
    pub(crate) const fn level(&self) -> u8 {
        self.level
    }

    /// Compresses a piece of a message. Appends the output that is complete to `output`, often
    /// none.
    ///
    /// # Errors
    ///
    /// When zlib fails.
    pub fn push(&mut self, piece: &[u8], output: &mut Vec<u8>) -> Result<(), DeflateError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.pushed = self.pushed.saturating_add(piece.len());
        self.run(piece, output, MIN_ROOM, FlushCompress::None)
    }

    /// Appends the output for all pieces so far to `output`, so that the peer can decompress them
    /// before the message ends. This costs a few bytes.
    ///
    /// # Errors
    ///
    /// When zlib fails.
    pub fn flush(&mut self, output: &mut Vec<u8>) -> Result<(), DeflateError> {
        if self.pushed > 0 {
            self.run(&[], output, flush_room(self.pushed), FlushCompress::Sync)?;
            self.pushed = 0;
        }
        Ok(())
    }

    /// Ends the message and appends the rest of its output to `output`.
    ///
    /// # Errors
    ///
    /// When zlib fails.
    pub fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), DeflateError> {
        if self.pushed == 0 {
            // The empty block of a flush without its tail (§7.2.3.6). zlib omits it directly
            // after a flush.
            output.push(0x00);
        } else {
            self.run(&[], output, flush_room(self.pushed), FlushCompress::Sync)?;
            let Some(message) = output.strip_suffix(&TAIL) else { return Err(self.fail()) };
            output.truncate(message.len());
        }
        self.release();
        Ok(())
    }

    fn run(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        mut room: usize,
        flush: FlushCompress,
    ) -> Result<(), DeflateError> {
        let mut rest = input;
        loop {
            let Ok((consumed, produced)) = self.step(rest, output, room, flush) else {
                return Err(self.fail());
            };
            rest = rest.get(consumed..).unwrap_or_default();
            if rest.is_empty() && produced < room {
                return Ok(());
            }
            if consumed == 0 && produced == 0 {
                return Err(self.fail());
            }
            room = room.saturating_mul(2);
        }
    }

    /// Calls zlib once. Returns the number of bytes consumed and produced.
    fn step(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        room: usize,
        flush: FlushCompress,
    ) -> Result<(usize, usize), CompressError> {
        let (level, bits, keep) = (self.level, self.window_bits, self.context_takeover);
        let ZlibState { zlib, .. } = &mut **self.state.get_or_insert_with(|| {
            if keep { ZlibState::new(level, bits) } else { ZlibState::borrow(level, bits) }
        });
        let (total_in, total_out) = (zlib.total_in(), zlib.total_out());
        let len = output.len();
        output.resize(len + room, 0);
        let done = zlib.compress(input, output.get_mut(len..).unwrap_or_default(), flush);
        let consumed = (zlib.total_in() - total_in) as usize;
        let produced = (zlib.total_out() - total_out) as usize;
        output.truncate(len + produced);
        done.map(|_| (consumed, produced))
    }

    /// Prepares for the next message.
    ///
    /// Only a state that has ended its message returns to the pool. zlib-rs does not close the
    /// open block when it resets a state of level 1, and would begin the next message inside it.
    /// Other states are dropped.
    fn release(&mut self) {
        self.pushed = 0;
        if self.context_takeover {
            return;
        }
        if let Some(mut state) = self.state.take() {
            state.zlib.reset();
            // A thread that is exiting has no pool any more.
            let _ = POOL.try_with(|pool| pool.give(state));
        }
    }

    fn fail(&mut self) -> DeflateError {
        self.state = None;
        self.pushed = 0;
        DeflateError
    }
}

impl ZlibState {
    /// A state for one connection.
    fn new(level: u8, window_bits: u8) -> Box<Self> {
        let zlib =
            Compress::new_with_window_bits(Compression::new(level.into()), false, window_bits);
        Box::new(Self { zlib, level, window_bits })
    }

    /// A state for one message.
    fn borrow(level: u8, window_bits: u8) -> Box<Self> {
        POOL.try_with(|pool| {
            pool.take(|state| state.level == level && state.window_bits == window_bits)
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| Self::new(level, window_bits))
    }
}

/// The room for the output of `pushed` bytes and the tail.
///
/// A flush must not run out of room. zlib would flush again, and end the message with two empty
/// blocks.
fn flush_room(pushed: usize) -> usize {
    // In the worst case a byte takes 9 bits, and a block has 5 bytes of its own.
    pushed.saturating_add(pushed / 8).saturating_add(pushed / 64 + MIN_ROOM).min(MAX_HELD)
}

/// Most pieces produce no output yet. Insufficient room is doubled.
const MIN_ROOM: usize = 64;

/// More than zlib holds at most: 64 KiB of finished output and a block of 16 Ki symbols.
const MAX_HELD: usize = 144 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::deflate::{
        Inflater,
        oracle::{self, Block, OracleOutput},
    };

    fn compress(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        deflater.compress(payload, &mut message).unwrap();
        message
    }

    /// What a peer reads that got all these messages, and kept its window.
    fn read<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> OracleOutput {
        let stream: Vec<_> =
            messages.into_iter().flat_map(|message| [message, &TAIL].concat()).collect();
        oracle::read(&stream).unwrap()
    }

    /// Bytes that repeat what was before, near and far, in the way of `seed`.
    fn repetitive(len: usize, mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let [a, b, c, d, ..] = seed.to_be_bytes();
            // From 1 to 65,536 back, all magnitudes alike.
            let distance = (usize::from(u16::from_be_bytes([a, b])) >> (c % 16)) + 1;
            for _ in 0..3 + d / 4 {
                let byte = bytes.len().checked_sub(distance).map(|from| bytes[from]);
                bytes.push(byte.filter(|_| c < 192).unwrap_or(a ^ bytes.len() as u8));
            }
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn the_examples_of_the_rfc_are_written() {
        for level in 1..10 {
            let mut deflater = Deflater::new(15, false, level);
            for _ in 0..2 {
                assert_eq!(compress(&mut deflater, b"Hello"), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
            }
            let mut deflater = Deflater::new(15, true, level);
            assert_eq!(compress(&mut deflater, b"Hello"), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
            let again = compress(&mut deflater, b"Hello");
            // The RFC looks back at once; level 1 does not for so little.
            assert!(again == b"\xf2\x00\x11\x00\x00" || level == 1, "level {level}: {again:x?}");
        }
    }

    #[test]
    fn an_empty_message_is_a_zero() {
        for takeover in [false, true] {
            let mut deflater = Deflater::new(15, takeover, 1);
            let payloads: [&[u8]; 5] = [b"", b"", b"Hello", b"", b"Hello"];
            let messages = payloads.map(|payload| compress(&mut deflater, payload));
            for n in [0, 1, 3] {
                assert_eq!(messages[n], [0x00]);
            }
            assert_eq!(read(messages.iter().map(Vec::as_slice)).bytes, b"HelloHello");
        }
    }

    #[test]
    fn no_message_looks_back_further_than_the_window() {
        let payload = repetitive(100_000, 1);
        for level in 0..10 {
            for bits in 8..16 {
                let mut deflater = Deflater::new(bits, true, level);
                let messages: Vec<_> = payload
                    .chunks(if level % 2 == 0 { 100_000 } else { 999 })
                    .map(|payload| compress(&mut deflater, payload))
                    .collect();
                let reading = read(messages.iter().map(Vec::as_slice));
                assert_eq!(reading.bytes, payload);
                let farthest = reading.farthest;
                assert!(farthest <= 1 << bits, "level {level}, {bits} bits: {farthest}");
                // A window that went unused would prove nothing.
                let used = (1 << bits.max(9)) - 262;
                assert!(level == 0 || farthest > used / 10 * 9, "{level}, {bits}: {farthest}");
            }
        }
    }

    #[test]
    fn a_message_ends_with_one_empty_block() {
        for level in 0..10 {
            for bits in [9, 15] {
                for len in (1..300).step_by(3).chain([1000, 16_384, 70_000, 150_000]) {
                    for seed in [1, 2] {
                        let mut payload = repetitive(len, seed);
                        if seed == 2 {
                            // Nothing that shrinks, and all of it long in a fixed code.
                            payload.iter_mut().enumerate().for_each(|(n, byte)| {
                                *byte = 0x90 | (n.wrapping_mul(0x9e37_79b9) >> 16) as u8;
                            });
                        }
                        let message = compress(&mut Deflater::new(bits, false, level), &payload);
                        let reading = read([message.as_slice()]);
                        assert_eq!(reading.bytes, payload);
                        let (last, others) = reading.blocks.split_last().unwrap();
                        assert_eq!(*last, Block::Stored(0));
                        assert!(!others.contains(&Block::Stored(0)), "{level} {bits} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_takeover_nothing_is_held_between_messages() {
        let mut deflater = Deflater::new(15, false, 1);
        let message = compress(&mut deflater, b"Hello, hello, hello");
        assert!(deflater.state.is_none());
        // An unfinished message does not affect the next user of the state either.
        deflater.push(b"Hello", &mut Vec::new()).unwrap();
        drop(deflater);
        let mut deflater = Deflater::new(15, false, 1);
        assert_eq!(compress(&mut deflater, b"Hello, hello, hello"), message);
        // And what was made for other settings is not taken.
        let stored = compress(&mut Deflater::new(15, false, 0), b"Hello");
        assert_eq!(stored, b"\x00\x05\x00\xfa\xffHello\x00");
    }

    #[test]
    fn a_message_that_was_given_up_leaves_nothing_behind() {
        for level in 0..=9 {
            let mut given_up = Deflater::new(15, false, level);
            given_up.push(&[b'a'; 1000], &mut Vec::new()).unwrap();
            drop(given_up);
            // It would take the state over from the pool of this thread.
            let message = compress(&mut Deflater::new(15, false, level), b"another");
            assert_eq!(read([&*message]).bytes, b"another", "level {level}");
        }
    }

    #[test]
    fn what_was_in_the_output_stays() {
        let mut output = b"before\0\0\xff\xff".to_vec();
        Deflater::new(15, false, 6).compress(b"Hello", &mut output).unwrap();
        assert_eq!(output, b"before\0\0\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00");
    }

    #[test]
    fn all_settings_are_taken() {
        for bits in 0..=u8::MAX {
            for level in [0, 1, 9, 10, u8::MAX] {
                let message = compress(&mut Deflater::new(bits, false, level), b"Hello");
                assert_eq!(read([message.as_slice()]).bytes, b"Hello");
            }
        }
    }

    proptest! {
        /// What is written can be read, with any settings and however it is cut.
        #[test]
        fn messages_survive(
            payloads in prop::collection::vec((0usize..3000, any::<u64>()), 0..6),
            bits in 8u8..16, takeover: bool, level in 0u8..10, cut in 1usize..2000,
        ) {
            let mut deflater = Deflater::new(bits, takeover, level);
            let mut inflater = Inflater::new(bits, takeover);
            for (len, seed) in payloads {
                let payload = repetitive(len, seed);
                let mut message = Vec::new();
                for piece in payload.chunks(cut) {
                    deflater.push(piece, &mut message).unwrap();
                }
                deflater.finish(&mut message).unwrap();
                let mut read = Vec::new();
                for piece in message.chunks(cut) {
                    let inflated = inflater.inflate(piece, &mut read, len + 1).unwrap();
                    prop_assert_eq!((inflated.consumed, inflated.full), (piece.len(), false));
                }
                prop_assert_eq!(inflater.finish(&mut read, len + 1), Ok(false));
                prop_assert_eq!(read, payload);
            }
        }
    }
}
