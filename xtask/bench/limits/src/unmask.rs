//! How are a client's frames unmasked, to be echoed by a server?

use load::frame::Header;

/// The position in a client's frames.
#[derive(Debug, Default)]
pub struct Unmasker {
    /// The incomplete header.
    head: Vec<u8>,
    key: [u8; 4],
    /// The rest of the payload.
    left: usize,
    /// The index of the next byte of the key.
    key_at: usize,
}

impl Unmasker {
    /// Appends the frames in `bytes` to `out`, unmasked.
    pub fn unmask(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.head.push(first);
                bytes = rest;
                if let Some((header, _)) = Header::decode(&self.head)
                    && let Some((head, key)) = self.head.split_last_chunk_mut()
                {
                    head[1] &= 0x7f;
                    out.extend_from_slice(head);
                    (self.key, self.left, self.key_at) = (*key, header.len as usize, 0);
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
        key.rotate_left(self.key_at);
        let key = u64::from_ne_bytes([key, key].concat().try_into().unwrap_or_default());
        let (words, rest) = payload.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
            *byte ^= key;
        }
        self.key_at = (self.key_at + payload.len()) % 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unmasked_wherever_the_bytes_are_split() {
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
