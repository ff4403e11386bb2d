//! Which messages does a connection send in a cycle, and which replies are correct?

use anyhow::{Result, ensure};
use flate2::{Compress, Compression, FlushCompress};

use crate::frame::{BINARY, TEXT, encode};
use crate::scenario::{Content, Deflate, Scenario};

/// A cycle of messages, as frames that are ready to be sent.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    /// The start of each frame's payload, and the end of the frame.
    frames: Vec<(usize, usize)>,
    /// The payloads of the messages.
    payloads: Vec<Vec<u8>>,
    opcode: u8,
}

/// The size of the prepared frames in bytes: many are sent with one system call.
const PREPARED: usize = 32 * 1024;

impl Script {
    /// The messages of the connection with this number.
    ///
    /// # Errors
    ///
    /// The messages cannot be compressed.
    pub fn new(scenario: &Scenario, number: u64) -> Result<Self> {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let distinct = match scenario.deflate {
            Deflate::Takeover => SIMILAR,
            Deflate::Off | Deflate::NoTakeover => 1,
        };
        let payloads = (0..distinct).map(|_| payload(scenario, &mut random)).collect();
        let opcode = if scenario.content == Content::Binary { BINARY } else { TEXT };
        Self::of(payloads, opcode, scenario.deflate, &mut random)
    }

    /// Numbered messages: each differs from the one before.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn numbered(scenario: &Scenario, count: u64) -> Result<Self> {
        let mut random = Random(count | 1);
        let payloads = (0..count).map(|number| {
            let mut payload = payload(scenario, &mut random);
            let len = payload.len().min(8);
            payload[..len].copy_from_slice(&number.to_be_bytes()[8 - len..]);
            payload
        });
        let payloads = payloads.collect();
        Self::of(payloads, BINARY, Deflate::Off, &mut random)
    }

    fn of(
        payloads: Vec<Vec<u8>>,
        opcode: u8,
        deflate: Deflate,
        random: &mut Random,
    ) -> Result<Self> {
        let mut script = Self { bytes: Vec::new(), frames: Vec::new(), payloads, opcode };
        let mut compress = Compress::new(Compression::new(6), false);
        loop {
            for payload in &script.payloads {
                let squeezed = match deflate {
                    Deflate::Off => None,
                    Deflate::NoTakeover => {
                        compress.reset();
                        Some(squeeze(&mut compress, payload)?)
                    }
                    Deflate::Takeover => Some(squeeze(&mut compress, payload)?),
                };
                let payload = squeezed.as_ref().unwrap_or(payload);
                let key = (random.draw() as u32).to_ne_bytes();
                encode(opcode, squeezed.is_some(), payload, key, &mut script.bytes);
                let end = script.bytes.len();
                script.frames.push((end - payload.len(), end));
            }
            // A compressed message refers to the same cycle only, so the cycle can be repeated.
            if deflate == Deflate::Takeover || script.bytes.len() >= PREPARED {
                return Ok(script);
            }
        }
    }

    /// The bytes to send after the first `sent`, up to the end of the first `messages`.
    pub fn next(&self, sent: u64, messages: u64) -> &[u8] {
        let (cycle, count) = (self.bytes.len() as u64, self.frames.len() as u64);
        let part = (messages % count) as usize;
        let end = if part == 0 { 0 } else { self.frames[part - 1].1 as u64 };
        let goal = messages / count * cycle + end;
        let from = sent % cycle;
        let to = (from + (goal - sent)).min(cycle);
        &self.bytes[from as usize..to as usize]
    }

    /// The payload of message `number`.
    pub fn payload(&self, number: u64) -> &[u8] {
        &self.payloads[(number % self.payloads.len() as u64) as usize]
    }

    /// The masked and compressed payload on the wire, which a server without a protocol echoes.
    pub fn masked(&self, number: u64) -> &[u8] {
        let (from, to) = self.frames[(number % self.frames.len() as u64) as usize];
        &self.bytes[from..to]
    }

    /// The opcode of the messages.
    pub const fn opcode(&self) -> u8 {
        self.opcode
    }

    /// Whether the payload of message `number` comes again in each cycle.
    pub fn slot(&self, number: u64) -> usize {
        (number % self.payloads.len() as u64) as usize
    }
}

/// The number of messages in a cycle with context takeover.
const SIMILAR: usize = 100;

/// Deflates to a byte boundary, without the marker that RFC 7692 removes.
fn squeeze(compress: &mut Compress, payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let before = compress.total_in();
    compress.compress_vec(payload, &mut out, FlushCompress::Sync)?;
    let whole = compress.total_in() - before == payload.len() as u64;
    ensure!(whole && out.ends_with(&[0, 0, 0xff, 0xff]), "a message cannot be compressed");
    out.truncate(out.len() - 4);
    Ok(out)
}

/// A payload for a scenario.
pub fn payload(scenario: &Scenario, random: &mut Random) -> Vec<u8> {
    let size = scenario.size;
    match scenario.content {
        Content::Binary => (0..size).map(|_| random.draw() as u8).collect(),
        Content::Ascii => (0..size).map(|_| b' ' + (random.draw() % 95) as u8).collect(),
        Content::Utf8 => {
            let mut text = String::new();
            while text.len() < size {
                text.push_str(WORDS[(random.draw() % WORDS.len() as u64) as usize]);
            }
            while text.len() > size {
                text.pop();
            }
            text.extend(std::iter::repeat_n('.', size - text.len()));
            text.into_bytes()
        }
        Content::Json => {
            let mut text = String::from("[");
            while text.len() < size {
                text.push_str(&record(random));
            }
            text.truncate(size);
            text.into_bytes()
        }
    }
}

const WORDS: [&str; 6] =
    ["Grüße an die Köche, ", "世界你好", "Добрый день — ", "ναι, ", "ありがとう", "ok "];

fn record(random: &mut Random) -> String {
    let mut below = |limit| random.draw() % limit;
    let names = ["anna", "bertil", "chiara", "dmitri", "esther", "farid", "grace", "hiro"];
    let (name, id) = (names[below(8) as usize], below(1_000_000));
    format!(
        "{{\"id\":{id},\"user\":\"{name}{}\",\"email\":\"{name}{}@example.org\",\"active\":{},\
         \"balance\":{}.{:02},\"tags\":[\"t{}\",\"t{}\"],\"seen\":\"2026-{:02}-{:02}T{:02}:{:02}Z\"}},",
        below(100),
        below(100),
        below(2) == 0,
        below(10_000),
        below(100),
        below(20),
        below(20),
        below(12) + 1,
        below(28) + 1,
        below(24),
        below(60),
    )
}

/// Pseudo-random numbers that are the same in each run (xorshift).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    #[test]
    fn a_script_can_be_sent_in_any_pieces() {
        let scenario = Scenario::find("pipeline").unwrap();
        let script = Script::new(scenario, 1).unwrap();
        assert_eq!(script.next(0, 1).len(), 6 + 24);
        assert_eq!(script.next(7, 2).len(), 2 * 30 - 7);
        let cycle = script.bytes.len() as u64;
        let whole = script.frames.len() as u64;
        assert_eq!(script.next(cycle - 5, whole + 3).len(), 5);
        assert_eq!(script.next(cycle, whole + 3).len(), 3 * 30);
        assert_eq!(script.next(cycle, whole).len(), 0);
    }

    #[test]
    fn payloads_have_their_size_and_text_is_text() {
        for scenario in SCENARIOS {
            let payload = payload(scenario, &mut Random(3));
            assert_eq!(payload.len(), scenario.size, "{}", scenario.name);
            if scenario.content != Content::Binary {
                assert!(std::str::from_utf8(&payload).is_ok(), "{}", scenario.name);
            }
        }
    }
}
