//! Do compressed messages decompress to the same, within the size bound?

use std::{iter, mem};

use ws_core::deflate::{Corrupt, Deflater, Inflater};

use crate::{Cuts, Input, oracle};

/// The end of a message that is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The size bound of a decompressed message.
const MOST: usize = 256 * 1024;

/// The number of bytes that the slow oracle reads: slightly more than a window.
const MOST_READ: usize = 36 * 1024;

/// The number of bytes to inflate in pieces of any size. Later pieces have at least [`LATER`]
/// bytes, to limit the run time.
const EARLY: usize = 4 * 1024;
const LATER: usize = 1024;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let takeover = flags & 1 != 0;
    let window_bits = 15 - input.byte() % 8;
    let (cuts, room) = (input.cuts(), input.size().max(1));
    let level = input.byte() % 10;
    if flags & 4 != 0 {
        give_up(&mut input, takeover, window_bits, level);
    }
    let new = || Inflater::new(window_bits, takeover);
    if flags & 2 == 0 {
        inflate_any(input, takeover, [new(), new()], cuts, room);
    } else {
        let deflater = Deflater::new(window_bits, takeover, level);
        let farthest = deflate_any(input, takeover, deflater, new(), cuts);
        assert!(farthest <= 1 << window_bits, "{farthest} bytes are beyond {window_bits} bits");
    }
}

/// Abandons two messages. Their states may be reused.
fn give_up(input: &mut Input<'_>, takeover: bool, window_bits: u8, level: u8) {
    let len = input.size();
    let plain = input.pattern(len);
    let mut deflater = Deflater::new(window_bits, takeover, level);
    deflater.push(&plain, &mut Vec::new()).expect("deflated");
    let mut inflater = Inflater::new(window_bits, takeover);
    // It may fail or not.
    let _ = inflater.inflate(&plain, &mut Vec::new(), MOST);
}

/// Arbitrary bytes give the same result however they are split.
fn inflate_any(
    mut input: Input<'_>,
    takeover: bool,
    [mut whole, mut pieces]: [Inflater; 2],
    cuts: Cuts,
    room: usize,
) {
    let lens = [input.size(), input.size(), usize::MAX];
    let mut stream = Stream::default();
    for message in lens.map(|len| input.take(len)) {
        let inflated = inflate(&mut whole, message, Cuts::NONE, MOST);
        assert_eq!(inflated, inflate(&mut pieces, message, cuts, room), "the cuts matter");
        let Ok(Some(plain)) = inflated else { return };
        stream.add(message, &plain, takeover);
        // The oracle does not support a final block without the byte behind it.
        if let Some(Some(reading)) = stream.read() {
            assert_eq!(reading.bytes, stream.plain, "the oracle reads something else");
        }
    }
}

/// Checks that messages round-trip and that flushed pieces are complete. Returns the largest
/// distance that was referred back.
fn deflate_any(
    mut input: Input<'_>,
    takeover: bool,
    mut deflater: Deflater,
    mut inflater: Inflater,
    mut cuts: Cuts,
) -> usize {
    let mut farthest = 0;
    let mut stream = Stream::default();
    while !input.rest().is_empty() && stream.plain.len() < MOST_READ {
        let flushes = input.byte();
        let len = input.size() * if flushes < 0xe0 { 1 } else { 9 };
        let plain = input.pattern(len);
        let deflated = if flushes & 1 == 0 {
            let mut deflated = Vec::new();
            deflater.compress(&plain, &mut deflated).expect("deflated");
            assert_eq!(inflate(&mut inflater, &deflated, cuts, MOST), Ok(Some(plain.clone())));
            deflated
        } else {
            talk(&mut deflater, &mut inflater, &plain, &mut cuts, flushes)
        };
        stream.add(&deflated, &plain, takeover);
        if let Some(reading) = stream.read() {
            let reading = reading.expect("the oracle can read it");
            assert_eq!(reading.bytes, stream.plain, "the oracle reads something else");
            farthest = farthest.max(reading.farthest);
        }
    }
    farthest
}

/// Sends a message in pieces. Returns the compressed bytes.
fn talk(
    deflater: &mut Deflater,
    inflater: &mut Inflater,
    mut plain: &[u8],
    cuts: &mut Cuts,
    flushes: u8,
) -> Vec<u8> {
    let whole = plain;
    let (mut deflated, mut inflated) = (Vec::new(), Vec::new());
    let mut hear = |said: Vec<u8>| {
        let done = inflater.inflate(&said, &mut inflated, MOST).expect("inflated");
        assert!(!done.full && done.consumed == said.len());
        deflated.extend(said);
        inflated.len()
    };
    let mut said = Vec::new();
    for turn in (1..6).cycle() {
        let piece = cuts.next().max(whole.len() / 100).min(plain.len());
        let (piece, rest) = plain.split_at(piece);
        plain = rest;
        deflater.push(piece, &mut said).expect("deflated");
        if plain.is_empty() {
            break;
        }
        if flushes >> turn & 1 != 0 {
            deflater.flush(&mut said).expect("flushed");
            let heard = hear(mem::take(&mut said));
            assert_eq!(heard, whole.len() - plain.len(), "held back by a flush");
        }
    }
    deflater.finish(&mut said).expect("finished");
    hear(said);
    assert_eq!(inflater.finish(&mut inflated, MOST), Ok(false));
    assert_eq!(inflated, whole);
    deflated
}

/// Messages that share a window.
#[derive(Default)]
struct Stream {
    deflated: Vec<u8>,
    plain: Vec<u8>,
}

impl Stream {
    fn add(&mut self, deflated: &[u8], plain: &[u8], takeover: bool) {
        if !takeover {
            *self = Self::default();
        }
        self.deflated.extend_from_slice(deflated);
        self.deflated.extend_from_slice(&TAIL);
        self.plain.extend_from_slice(plain);
    }

    /// Decodes by the oracle, up to its limit.
    fn read(&self) -> Option<Option<oracle::OracleOutput>> {
        (self.plain.len() <= MOST_READ).then(|| oracle::read(&self.deflated))
    }
}

/// Inflates a message into pieces of `room` bytes. `None` if it is too long.
fn inflate(
    inflater: &mut Inflater,
    message: &[u8],
    mut cuts: Cuts,
    room: usize,
) -> Result<Option<Vec<u8>>, Corrupt> {
    let mut plain = Vec::new();
    let mut rest = message;
    let pieces = iter::from_fn(|| (!rest.is_empty()).then(|| cuts.split(&mut rest)));
    let pieces: Vec<_> = pieces.map(Some).chain([None]).collect();
    for mut piece in pieces {
        loop {
            let least = if plain.len() < EARLY { 1 } else { LATER };
            let max = room.max(least).min(MOST - plain.len());
            let mut output = Vec::new();
            let full = match &mut piece {
                None => inflater.finish(&mut output, max)?,
                Some(piece) => {
                    let done = inflater.inflate(piece, &mut output, max)?;
                    *piece = &piece[done.consumed..];
                    assert!(done.full || piece.is_empty(), "stopped without a reason");
                    done.full
                }
            };
            assert!(output.len() <= max && output.capacity() <= max, "beyond its bound");
            plain.extend_from_slice(&output);
            if !full {
                break;
            }
            assert_eq!(output.len(), max, "full without being so");
            if max == 0 {
                return Ok(None);
            }
        }
    }
    Ok(Some(plain))
}
