//! What does a deflate stream contain?
//!
//! A plain, slow decoder (RFC 1951) to test zlib against.

/// The content of a stream.
#[derive(Debug, Default)]
pub(super) struct OracleOutput {
    pub(super) bytes: Vec<u8>,
    /// The largest distance that it refers back.
    pub(super) farthest: usize,
    pub(super) blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Stored(usize),
    Fixed,
    Dynamic,
}

/// Reads blocks to the end of the bytes. `None` if they are truncated or invalid.
pub(super) fn read(stream: &[u8]) -> Option<OracleOutput> {
    let mut bits = Bits { stream, at: 0 };
    let mut reading = OracleOutput::default();
    // The start of the window. A final block ends the stream, and another one follows.
    let mut start = 0;
    while bits.at < stream.len() * 8 {
        let is_last = bits.take(1)? == 1;
        let block = match bits.take(2)? {
            0 => Block::Stored(stored(&mut bits, &mut reading.bytes)?),
            1 => {
                let mut lengths = [8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                let codes = (Code::new(&lengths), Code::new(&[5; 30]));
                symbols(&mut bits, &codes, &mut reading, start)?;
                Block::Fixed
            }
            2 => {
                let codes = dynamic(&mut bits)?;
                symbols(&mut bits, &codes, &mut reading, start)?;
                Block::Dynamic
            }
            _ => return None,
        };
        reading.blocks.push(block);
        if is_last {
            bits.align();
            start = reading.bytes.len();
        }
    }
    Some(reading)
}

fn stored(bits: &mut Bits<'_>, bytes: &mut Vec<u8>) -> Option<usize> {
    bits.align();
    let (len, complement) = (bits.take(16)?, bits.take(16)?);
    if len != complement ^ 0xffff {
        return None;
    }
    for _ in 0..len {
        bytes.push(bits.take(8)? as u8);
    }
    Some(len)
}

fn dynamic(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, own) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut lengths = [0; 19];
    for &symbol in &ORDER[..own] {
        lengths[symbol] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.next(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    let distances = lengths.split_off(literals);
    Some((Code::new(&lengths), Code::new(&distances)))
}

fn symbols(
    bits: &mut Bits<'_>,
    (literals, distances): &(Code, Code),
    reading: &mut OracleOutput,
    start: usize,
) -> Option<()> {
    loop {
        let len = match literals.next(bits)? {
            byte @ 0..256 => {
                reading.bytes.push(byte as u8);
                continue;
            }
            256 => return Some(()),
            short @ 257..265 => short - 254,
            285 => 258,
            long @ 265..285 => {
                let extra = (long - 261) / 4;
                ((4 + (long - 261) % 4) << extra) + bits.take(extra)? + 3
            }
            _ => return None,
        };
        let distance = match distances.next(bits)? {
            near @ 0..4 => near + 1,
            far @ 4..30 => {
                let extra = far / 2 - 1;
                ((2 + far % 2) << extra) + bits.take(extra)? + 1
            }
            _ => return None,
        };
        reading.farthest = reading.farthest.max(distance);
        for _ in 0..len {
            let from = reading.bytes.len().checked_sub(distance).filter(|from| *from >= start)?;
            reading.bytes.push(reading.bytes[from]);
        }
    }
}

/// Bits, from the lowest of each byte on.
struct Bits<'a> {
    stream: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for n in 0..count {
            let byte = *self.stream.get(self.at / 8)?;
            value |= usize::from((byte >> (self.at % 8)) & 1) << n;
            self.at += 1;
        }
        Some(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A Huffman code: the number of codes of each length, and the symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        counts[0] = 0;
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|n| lengths[*n] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut skipped) = (0, 0, 0);
        for count in &self.counts[1..] {
            code = (code << 1) | bits.take(1)?;
            first <<= 1;
            if code < first + count {
                return self.symbols.get(skipped + code.checked_sub(first)?).copied();
            }
            skipped += count;
            first += count;
        }
        None
    }
}
