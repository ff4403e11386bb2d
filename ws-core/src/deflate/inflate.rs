//! How is a message decompressed within a size bound?

use flate2::{Decompress, FlushDecompress, Status};

use super::{Corrupt, Inflated, TAIL, pool::StatePool};

thread_local! {
    /// 47 KiB each.
    static POOL: StatePool<Box<Decompress>, 4> = const { StatePool::new() };
}

/// Decompresses the messages of one direction.
///
/// Pass a message to [`inflate`](Self::inflate), in pieces of any size, then end it with
/// [`finish`](Self::finish). After an error it must not be used again.
///
/// It allocates on first use. With context takeover it then holds 47 KiB (zlib-rs uses a window
/// of 32 KiB, whatever was negotiated). Without, it holds nothing between messages.
#[derive(Debug)]
pub struct Inflater {
    state: Option<Box<Decompress>>,
    window_bits: u8,
    context_takeover: bool,
    /// A message or a stream begins here, so there is no block to end.
    fresh: bool,
    /// `state` filled all its room, so it may hold more output.
    pending: bool,
    /// The number of bytes consumed and produced.
    totals: (u64, u64),
}

/// The result of one call of zlib.
struct ZlibStep {
    consumed: usize,
    produced: usize,
    /// The block was marked as the last one (BFINAL).
    ended: bool,
}

impl Inflater {
    /// Decompresses messages that were compressed with a window of `2^window_bits` bytes. They may
    /// refer to earlier messages if `context_takeover` is set.
    pub const fn new(window_bits: u8, context_takeover: bool) -> Self {
        let (fresh, pending) = (true, false);
        Self { state: None, window_bits, context_takeover, fresh, pending, totals: (0, 0) }
    }

    /// The number of bytes consumed and produced.
    pub const fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// Decompresses `input` and appends to `output`, until `output` holds `max` bytes or `input` is
    /// used up. The capacity of `output` grows with the data, to `max` at most.
    ///
    /// # Errors
    ///
    /// When the data is corrupt.
    pub fn inflate(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        max: usize,
    ) -> Result<Inflated, Corrupt> {
        let start = output.len();
        let mut len = start;
        let inflated = self.fill(input, output, &mut len, max);
        output.truncate(len);
        if let Ok(done) = &inflated {
            self.totals.0 += done.consumed as u64;
            self.totals.1 += (len - start) as u64;
        }
        inflated
    }

    /// Ends the message, all of which must have been consumed. Returns `true` if `output` is full
    /// and there may be more: call again with room.
    ///
    /// # Errors
    ///
    /// When the message does not end at the end of a block. With context takeover, this is not
    /// detected for every such message.
    pub fn finish(&mut self, output: &mut Vec<u8>, max: usize) -> Result<bool, Corrupt> {
        if self.inflate(&[], output, max)?.full {
            return Ok(true);
        }
        // Otherwise the message was empty, or ended with a final block without the byte that
        // should follow it (§7.2.3.4).
        if !self.fresh {
            self.end()?;
        }
        self.fresh = true;
        self.release();
        Ok(false)
    }

    /// Writes to `output` from `len` on, and advances `len`. `output` behind `len` is zeroed room,
    /// which is shared by all steps.
    fn fill(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        len: &mut usize,
        max: usize,
    ) -> Result<Inflated, Corrupt> {
        let mut rest = input;
        let mut room = input.len().saturating_mul(4).clamp(MIN_ROOM, MAX_ROOM);
        // Each iteration consumes, produces, restarts (not twice without consuming) or is the
        // last.
        while self.pending || !rest.is_empty() {
            if output.len() == *len {
                if !make_room(output, room, max) {
                    return Ok(Inflated { consumed: input.len() - rest.len(), full: true });
                }
                room = room.saturating_mul(2);
            }
            let space = output.get_mut(*len..).unwrap_or_default();
            let step = self.step(rest, space)?;
            self.pending = step.produced == space.len() && !step.ended;
            if step.consumed == 0 && step.produced == 0 && !step.ended && !rest.is_empty() {
                return Err(Corrupt);
            }
            rest = rest.get(step.consumed..).unwrap_or_default();
            *len += step.produced;
        }
        Ok(Inflated { consumed: input.len(), full: false })
    }

    /// Feeds the tail and an empty block behind it. Both produce no output, unless the message was
    /// truncated: the tail and the block are then read as data. Without takeover the block is a
    /// final one, so that zlib reports whether it reached it.
    fn end(&mut self) -> Result<(), Corrupt> {
        let is_last = u8::from(!self.context_takeover);
        let [a, b, c, d] = TAIL;
        let end = [a, b, c, d, is_last, a, b, c, d];
        let step = self.step(&end, &mut [0])?;
        if step.consumed == end.len() && step.produced == 0 && step.ended != self.context_takeover {
            Ok(())
        } else {
            Err(Corrupt)
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ZlibStep, Corrupt> {
        let (bits, keep) = (self.window_bits, self.context_takeover);
        let state =
            self.state.get_or_insert_with(|| if keep { new_state(bits) } else { borrow_state() });
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let status = state.decompress(input, output, FlushDecompress::None).map_err(|_| Corrupt)?;
        let step = ZlibStep {
            consumed: (state.total_in() - total_in) as usize,
            produced: (state.total_out() - total_out) as usize,
            ended: status == Status::StreamEnd,
        };
        self.fresh = step.ended;
        if step.ended {
            // A final block ends the stream, not the message. More may follow, with an empty
            // window.
            state.reset(false);
        }
        Ok(step)
    }

    /// Prepares for the next message.
    fn release(&mut self) {
        if self.context_takeover {
            return;
        }
        if let Some(mut state) = self.state.take() {
            state.reset(false);
            // A thread that is exiting has no pool any more.
            let _ = POOL.try_with(|pool| pool.give(state));
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.release();
    }
}

/// A state for one connection.
fn new_state(window_bits: u8) -> Box<Decompress> {
    // flate2 panics for 8. A larger window can read the output of a smaller one.
    Box::new(Decompress::new_with_window_bits(false, window_bits.clamp(9, 15)))
}

/// A state for one message, with the largest window, which can read any.
fn borrow_state() -> Box<Decompress> {
    POOL.try_with(|pool| pool.take(|_| true))
        .ok()
        .flatten()
        .unwrap_or_else(|| Box::new(Decompress::new(false)))
}

/// Appends up to `room` zeros to `output`, up to `max` bytes in total. Returns `false` if there is
/// no room.
fn make_room(output: &mut Vec<u8>, room: usize, max: usize) -> bool {
    let len = output.len().saturating_add(room).min(max);
    if len <= output.len() {
        return false;
    }
    if len > output.capacity() {
        // Grows like a `Vec`, within the bound.
        let capacity = output.capacity().saturating_mul(2).clamp(len, max);
        output.reserve_exact(capacity - output.len());
    }
    output.resize(len, 0);
    true
}

/// Text shrinks to about a quarter. The bounds are for tiny and large inputs. Insufficient room is
/// doubled.
const MIN_ROOM: usize = 128;
const MAX_ROOM: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::deflate::{Deflater, oracle};

    /// Reads a message as it comes in pieces of `cut` bytes, `most` bytes at a time.
    fn read(
        inflater: &mut Inflater,
        message: &[u8],
        cut: usize,
        most: usize,
    ) -> Result<Vec<u8>, Corrupt> {
        let (mut read, mut output) = (Vec::new(), Vec::new());
        let mut drain = |output: &mut Vec<u8>| {
            assert!(output.len() <= most && output.capacity() <= most);
            read.append(output);
        };
        for mut piece in message.chunks(cut) {
            loop {
                let inflated = inflater.inflate(piece, &mut output, most)?;
                piece = &piece[inflated.consumed..];
                if !inflated.full {
                    assert_eq!(piece, b"");
                    break;
                }
                assert_eq!(output.len(), most);
                drain(&mut output);
            }
        }
        while inflater.finish(&mut output, most)? {
            assert_eq!(output.len(), most);
            drain(&mut output);
        }
        drain(&mut output);
        Ok(read)
    }

    /// Reads messages one after another, however they come.
    fn check(context_takeover: bool, messages: &[(&[u8], Result<&str, Corrupt>)]) {
        for cut in 1..20 {
            for most in [1, 2, 3, 4, 5, 6, 1000] {
                let mut inflater = Inflater::new(15, context_takeover);
                for (message, expected) in messages {
                    let read = read(&mut inflater, message, cut, most);
                    let expected = expected.map(|text| text.as_bytes().to_vec());
                    assert_eq!(read, expected, "{message:x?} cut by {cut}, {most} at a time");
                }
            }
        }
    }

    const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";
    const HELLO_AS_LAST_BLOCK: &[u8] = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for takeover in [false, true] {
            check(takeover, &[(HELLO, Ok("Hello")), (HELLO, Ok("Hello"))]);
            let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
            check(takeover, &[(stored, Ok("Hello")), (stored, Ok("Hello"))]);
            let two_blocks = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
            check(takeover, &[(two_blocks, Ok("Hello"))]);
            check(takeover, &[(HELLO_AS_LAST_BLOCK, Ok("Hello")), (HELLO, Ok("Hello"))]);
        }
    }

    #[test]
    fn only_with_takeover_does_a_message_refer_to_those_before() {
        check(true, &[(HELLO, Ok("Hello")), (HELLO_AGAIN, Ok("Hello")), (b"\x00", Ok(""))]);
        check(false, &[(HELLO, Ok("Hello")), (HELLO_AGAIN, Err(Corrupt))]);
    }

    #[test]
    fn empty_messages_are_read() {
        for takeover in [false, true] {
            let empty = [b"\x00".as_slice(), b"", b"\x02\x00", b"\x03\x00", b"\x03\x80"];
            for message in empty {
                check(takeover, &[(message, Ok("")), (HELLO, Ok("Hello")), (message, Ok(""))]);
            }
        }
    }

    #[test]
    fn a_last_block_is_not_the_end_of_the_message() {
        let hello = HELLO_AS_LAST_BLOCK.strip_suffix(b"\0").unwrap();
        for takeover in [false, true] {
            check(takeover, &[(hello, Ok("Hello")), (hello, Ok("Hello"))]);
            check(takeover, &[(&[hello, hello].concat(), Ok("HelloHello")), (b"\x00", Ok(""))]);
            check(takeover, &[(&[hello, HELLO].concat(), Ok("HelloHello"))]);
            // The window is empty again.
            check(takeover, &[(hello, Ok("Hello")), (HELLO_AGAIN, Err(Corrupt))]);
            check(takeover, &[(&[hello, HELLO_AGAIN].concat(), Err(Corrupt))]);
        }
        let again = [(HELLO, Ok("Hello")), (HELLO_AGAIN, Ok("Hello"))];
        check(true, &[&[(hello, Ok("Hello"))], again.as_slice()].concat());
    }

    #[test]
    fn a_message_that_is_cut_short_is_corrupt() {
        for takeover in [false, true] {
            for len in 1..HELLO.len() {
                check(takeover, &[(&HELLO[..len], Err(Corrupt))]);
            }
            check(takeover, &[(b"\x00\x05\x00\xfa\xff\x48\x65", Err(Corrupt))]);
        }
    }

    #[test]
    fn what_is_not_deflate_is_corrupt() {
        for takeover in [false, true] {
            // A kind of block that there is not; a length that is not its complement's;
            // a look back beyond the beginning; a tail that was sent.
            for message in [b"\x06".as_slice(), b"\x00\x05\x00\xfb\xff", HELLO_AGAIN] {
                check(takeover, &[(message, Err(Corrupt))]);
            }
            check(takeover, &[(&[HELLO, &TAIL].concat(), Err(Corrupt))]);
        }
    }

    #[test]
    fn last_blocks_without_end_come_to_an_end() {
        let blocks = [0x03, 0x00].repeat(500_000);
        let mut output = Vec::new();
        let mut inflater = Inflater::new(15, false);
        let inflated = inflater.inflate(&blocks, &mut output, 10).unwrap();
        assert_eq!(inflated, Inflated { consumed: blocks.len(), full: false });
        assert_eq!(inflater.finish(&mut output, 10), Ok(false));
        assert_eq!(output, b"");
    }

    fn bomb(len: usize) -> Vec<u8> {
        let mut bomb = Vec::new();
        Deflater::new(15, false, 9).compress(&vec![0; len], &mut bomb).unwrap();
        bomb
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = bomb(16 * 1024 * 1024);
        assert!(bomb.len() < 17 * 1024);
        for takeover in [false, true] {
            for max in [1, 2, 127, 128, 129, 1000, 65_536, 1_000_001] {
                let mut output = Vec::new();
                let inflated =
                    Inflater::new(15, takeover).inflate(&bomb, &mut output, max).unwrap();
                assert!(inflated.full && inflated.consumed < bomb.len());
                assert_eq!((output.len(), output.capacity()), (max, max));
            }
            let mut inflater = Inflater::new(15, takeover);
            let read = read(&mut inflater, &bomb, 1000, 64 * 1024).unwrap();
            assert_eq!(read.len(), 16 * 1024 * 1024);
        }
    }

    #[test]
    fn memory_grows_with_what_there_is_not_with_what_is_allowed() {
        let bomb = bomb(100_000);
        let mut output = Vec::new();
        let mut inflater = Inflater::new(15, false);
        for piece in bomb.chunks(10) {
            let _ = inflater.inflate(piece, &mut output, usize::MAX).unwrap();
            assert!(output.capacity() <= 2 * output.len() + MAX_ROOM);
        }
    }

    #[test]
    fn a_bound_that_is_reached_is_kept_to() {
        let mut inflater = Inflater::new(15, false);
        let mut output = b"before".to_vec();
        for max in [0, 5, 6] {
            let nothing = Inflated { consumed: 0, full: true };
            assert_eq!(inflater.inflate(HELLO, &mut output, max), Ok(nothing));
        }
        assert_eq!(output, b"before");
        // Exactly full: to learn that nothing is left takes another call.
        let exactly = inflater.inflate(HELLO, &mut output, 11).unwrap();
        assert_eq!((output.as_slice(), exactly.full), (b"beforeHello".as_slice(), true));
        let rest = inflater.inflate(&HELLO[exactly.consumed..], &mut output, 12).unwrap();
        assert!(!rest.full);
        // Nothing waits, so a bound that is reached is none.
        assert_eq!(inflater.finish(&mut output, 0), Ok(false));
        assert_eq!(output, b"beforeHello");
    }

    #[test]
    fn without_takeover_nothing_is_held_between_messages() {
        let mut inflater = Inflater::new(15, false);
        assert_eq!(read(&mut inflater, HELLO, 1, 10), Ok(b"Hello".to_vec()));
        assert!(inflater.state.is_none());
        // Unfinished and corrupt messages do not affect the next user of the state.
        for spoiled in [&HELLO[..4], b"\x06"] {
            let _ = inflater.inflate(spoiled, &mut Vec::new(), 10);
            inflater = Inflater::new(15, false);
            assert_eq!(read(&mut inflater, HELLO, 1, 10), Ok(b"Hello".to_vec()));
        }
    }

    #[test]
    fn every_number_of_window_bits_is_taken() {
        for bits in 0..=u8::MAX {
            for takeover in [false, true] {
                let mut inflater = Inflater::new(bits, takeover);
                assert_eq!(read(&mut inflater, HELLO, 1, 10), Ok(b"Hello".to_vec()));
            }
        }
    }

    proptest! {
        /// Whatever comes, it comes to an end, within the bounds that `read` checks.
        #[test]
        fn any_bytes_are_read_or_refused(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4),
            takeover: bool, cut in 1usize..50, most in 1usize..300,
        ) {
            let mut inflater = Inflater::new(15, takeover);
            for message in messages {
                let Ok(read) = read(&mut inflater, &message, cut, most) else { break };
                if !takeover && let Some(reading) = oracle::read(&[&message[..], &TAIL].concat()) {
                    prop_assert_eq!(read, reading.bytes);
                }
            }
        }

        /// Neither does what was nearly right do harm.
        #[test]
        fn a_changed_byte_is_read_or_refused(
            text in "[a-e ]{0,300}", level in 0u8..10, takeover: bool,
            at: prop::sample::Index, byte: u8, cut in 1usize..50, most in 1usize..300,
        ) {
            let mut message = Vec::new();
            Deflater::new(15, false, level).compress(text.as_bytes(), &mut message).unwrap();
            *at.get_mut(&mut message) = byte;
            let mut inflater = Inflater::new(15, takeover);
            let read = read(&mut inflater, &message, cut, most);
            let reading = oracle::read(&[&message[..], &TAIL].concat());
            if let (Ok(read), Some(reading)) = (read, reading) {
                prop_assert_eq!(read, reading.bytes);
            }
        }
    }
}
