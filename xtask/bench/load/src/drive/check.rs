//! Is each reply equal to the message that was sent?

use anyhow::{Result, bail, ensure};
use flate2::{Decompress, FlushDecompress, Status};

use crate::frame::{CLOSE, Header, MAX_HEADER};
use crate::scenario::Deflate;
use crate::script::Script;

/// Parses a server's frames, and compares them with a script.
#[derive(Debug)]
pub struct Checker {
    /// Whether the server echoes frames with their masks.
    raw: bool,
    /// An incomplete header.
    head: [u8; MAX_HEADER],
    have: usize,
    frame: Option<Header>,
    /// How much of the frame, and how much of the message, has arrived.
    frame_at: u64,
    message_at: usize,
    /// Whether the current message has to be inflated.
    compressed: bool,
    inflating: Option<Box<Inflating>>,
    /// The number of correct messages.
    pub messages: u64,
    /// The number of payload bytes.
    pub wire_bytes: u64,
}

impl Checker {
    /// The checker of a connection.
    pub fn new(raw: bool, deflate: Deflate) -> Self {
        Self {
            raw,
            head: [0; MAX_HEADER],
            have: 0,
            frame: None,
            frame_at: 0,
            message_at: 0,
            compressed: false,
            inflating: (deflate != Deflate::Off).then(|| Box::new(Inflating::new(deflate))),
            messages: 0,
            wire_bytes: 0,
        }
    }

    /// Checks received bytes.
    pub fn feed(&mut self, mut bytes: &[u8], script: &Script) -> Result<()> {
        while !bytes.is_empty() {
            let Some(frame) = self.frame else {
                bytes = self.open(bytes, script)?;
                continue;
            };
            let count = (frame.len - self.frame_at).min(bytes.len() as u64) as usize;
            let (payload, rest) = bytes.split_at(count);
            self.compare(&frame, payload, script)?;
            bytes = rest;
            self.end_frame(&frame, script)?;
        }
        Ok(())
    }

    /// Parses a header.
    fn open<'a>(&mut self, bytes: &'a [u8], script: &Script) -> Result<&'a [u8]> {
        let (header, rest) = if self.have == 0
            && let Some((header, size)) = Header::decode(bytes)
        {
            (header, &bytes[size..])
        } else {
            self.head[self.have] = bytes[0];
            self.have += 1;
            let Some((header, _)) = Header::decode(&self.head[..self.have]) else {
                return Ok(&bytes[1..]);
            };
            (header, &bytes[1..])
        };
        self.have = 0;
        self.frame_at = 0;
        if !header.is_control() {
            ensure!(header.masked == self.raw, "a reply has the wrong masking");
            let first = self.message_at == 0;
            let opcode = if first { script.opcode() } else { 0 };
            ensure!(header.opcode == opcode, "a reply has opcode {}", header.opcode);
            if first {
                self.compressed = header.rsv1;
            }
            ensure!(!header.rsv1 || self.inflating.is_some(), "a reply is compressed");
        }
        ensure!(!header.reserved, "a reply has a reserved bit set");
        ensure!(header.opcode != CLOSE, "the server closes a connection");
        self.frame = Some(header);
        self.end_frame(&header, script)?;
        Ok(rest)
    }

    fn compare(&mut self, frame: &Header, payload: &[u8], script: &Script) -> Result<()> {
        self.frame_at += payload.len() as u64;
        if frame.is_control() {
            return Ok(());
        }
        let from = self.message_at;
        self.message_at += payload.len();
        self.wire_bytes += payload.len() as u64;
        if self.compressed && !self.raw {
            if let Some(inflating) = &mut self.inflating {
                inflating.input.extend_from_slice(payload);
            }
            return Ok(());
        }
        let expected = match self.raw {
            true => script.masked(self.messages),
            false => script.payload(self.messages),
        };
        let right = expected.get(from..from + payload.len()) == Some(payload);
        ensure!(right, "message {} differs in the reply", self.messages);
        Ok(())
    }

    fn end_frame(&mut self, frame: &Header, script: &Script) -> Result<()> {
        if self.frame_at < frame.len {
            return Ok(());
        }
        self.frame = None;
        if frame.is_control() || !frame.fin {
            return Ok(());
        }
        let number = self.messages;
        let whole = match &mut self.inflating {
            _ if self.raw => self.message_at == script.masked(number).len(),
            Some(inflating) if self.compressed => {
                inflating.is(script.payload(number), script.slot(number))?
            }
            _ => self.message_at == script.payload(number).len(),
        };
        ensure!(whole, "message {number} has another length or content in the reply");
        self.message_at = 0;
        self.messages += 1;
        Ok(())
    }
}

/// The state to inflate compressed replies.
#[derive(Debug)]
struct Inflating {
    input: Vec<u8>,
    output: Vec<u8>,
    inflate: Decompress,
    takeover: bool,
    /// Correct replies that were inflated before. Without context takeover, the same bytes inflate
    /// to the same message.
    known: Vec<Vec<u8>>,
}

impl Inflating {
    fn new(deflate: Deflate) -> Self {
        Self {
            input: Vec::new(),
            output: Vec::new(),
            inflate: Decompress::new(false),
            takeover: deflate == Deflate::Takeover,
            known: Vec::new(),
        }
    }

    /// Whether the input inflates to `payload`. Clears the input.
    fn is(&mut self, payload: &[u8], slot: usize) -> Result<bool> {
        if !self.takeover && self.known.get(slot) == Some(&self.input) {
            self.input.clear();
            return Ok(true);
        }
        let known = self.input.clone();
        self.input.extend_from_slice(&[0, 0, 0xff, 0xff]);
        if !self.takeover {
            self.inflate.reset(false);
        }
        self.output.clear();
        self.output.reserve(payload.len() + 64);
        let status =
            self.inflate.decompress_vec(&self.input, &mut self.output, FlushDecompress::Sync)?;
        if status == Status::BufError {
            bail!("a compressed reply cannot be inflated");
        }
        self.input.clear();
        let right = self.output == payload;
        if right && !self.takeover {
            self.known.resize(self.known.len().max(slot + 1), Vec::new());
            self.known[slot] = known;
        }
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn script() -> Script {
        Script::new(Scenario::find("echo-16").unwrap(), 1).unwrap()
    }

    #[test]
    fn replies_are_right_however_they_are_cut() {
        let script = script();
        let reply = [b"\x02\x04".as_slice(), &script.payload(0)[..4]].concat();
        let reply = [&reply, b"\x89\x01p\x80\x0c".as_slice(), &script.payload(0)[4..]].concat();
        for cut in 0..reply.len() {
            let mut checker = Checker::new(false, Deflate::Off);
            checker.feed(&reply[..cut], &script).unwrap();
            checker.feed(&reply[cut..], &script).unwrap();
            assert_eq!(checker.messages, 1);
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let script = script();
        let good = [b"\x82\x10".as_slice(), script.payload(0)].concat();
        for bit in 0..good.len() * 8 {
            let mut bad = [good.as_slice(), &good, &good].concat();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut checker = Checker::new(false, Deflate::Off);
            let found = checker.feed(&bad, &script).is_err();
            // A changed length makes the checker wait for more bytes.
            assert!(found || checker.messages < 3, "bit {bit}: {}", checker.messages);
        }
    }

    #[test]
    fn frames_that_only_came_back_are_right_where_there_is_no_protocol() {
        let script = script();
        let mut checker = Checker::new(true, Deflate::Off);
        checker.feed(script.next(0, 5), &script).unwrap();
        assert_eq!(checker.messages, 5);
        assert!(Checker::new(false, Deflate::Off).feed(script.next(0, 1), &script).is_err());
    }

    #[test]
    fn a_compressed_reply_is_looked_into() {
        let scenario = Scenario::find("deflate-1k").unwrap();
        let script = Script::new(scenario, 1).unwrap();
        let stored = |payload: &[u8]| {
            let len = payload.len() as u16;
            let block = [[0].as_slice(), &len.to_le_bytes(), &(!len).to_le_bytes(), payload];
            let block = [block.concat(), vec![0]].concat();
            let head = [&[0xc1, 126], (block.len() as u16).to_be_bytes().as_slice()].concat();
            [head, block].concat()
        };
        let mut checker = Checker::new(false, scenario.deflate);
        let good = stored(script.payload(0));
        checker.feed(&good, &script).unwrap();
        checker.feed(&good, &script).unwrap();
        assert_eq!(checker.messages, 2);
        assert!(checker.feed(&stored(&[b'x'; 1024]), &script).is_err());
    }
}
