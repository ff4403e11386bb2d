//! How do a client's frames become a server's? Without the mask, and its key.

/// Where in a client's frames we are.
#[derive(Debug, Default)]
pub struct Unmasker {
    /// The header that has begun, if it has not all arrived.
    head: Vec<u8>,
    key: [u8; 4],
    /// How much of the payload is to come.
    left: usize,
    /// Which byte of the key is next.
    turn: usize,
}

impl Unmasker {
    /// Appends the frames in `bytes` to `out`, without their masks.
    pub fn unmask(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.head.push(first);
                bytes = rest;
                if let Some((header, key, len)) = header(&self.head) {
                    self.head[1] &= 0x7f;
                    out.extend_from_slice(&self.head[..header]);
                    (self.key, self.left, self.turn) = (key, len, 0);
                    self.head.clear();
                }
                continue;
            }
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            let from = out.len();
            out.extend_from_slice(payload);
            self.xor(&mut out[from..]);
            self.left -= payload.len();
            bytes = rest;
        }
    }

    fn xor(&mut self, payload: &mut [u8]) {
        let mut key = self.key;
        key.rotate_left(self.turn);
        let key = u64::from_ne_bytes([key, key].concat().try_into().unwrap_or_default());
        let (words, rest) = payload.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
            *byte ^= key;
        }
        self.turn = (self.turn + payload.len()) % 4;
    }
}

/// The length of the header without its key, the key, and the length of the payload.
fn header(head: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let (header, len) = match head.get(1)? & 0x7f {
        126 => (4, u16::from_be_bytes(*head.get(2..)?.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*head.get(2..)?.first_chunk()?) as usize),
        short => (2, short.into()),
    };
    Some((header, *head.get(header..)?.first_chunk()?, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_off_however_the_bytes_are_cut() {
        let frames = b"\x82\x83\x01\x02\x03\x04\x60\x60\x60\x81\x82\x20\x20\x20\x20AB";
        for cut in 0..frames.len() {
            let mut unmasker = Unmasker::default();
            let mut found = Vec::new();
            unmasker.unmask(&frames[..cut], &mut found);
            unmasker.unmask(&frames[cut..], &mut found);
            assert_eq!(found, b"\x82\x03abc\x81\x02ab", "cut at {cut}");
        }
    }
}
