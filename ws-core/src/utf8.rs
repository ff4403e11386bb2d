//! Is text that arrives in pieces valid UTF-8 so far?

/// The bytes so far are not the beginning of valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// Validates text in pieces, which may split characters. Fails at the first piece that no
/// continuation can make valid (RFC 6455 §8.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    /// The first bytes of an incomplete character.
    open: [u8; 3],
    len: u8,
}

impl Utf8 {
    /// A validator for a new text.
    pub const fn new() -> Self {
        Self { open: [0; 3], len: 0 }
    }

    /// Validates the next piece.
    ///
    /// # Errors
    ///
    /// When no further bytes can make the text valid. The validator must then not be used again.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.complete(byte)?;
            piece = rest;
        }
        let (whole, open) = split_open(piece);
        simdutf8::basic::from_utf8(whole).map_err(|_| NotUtf8)?;
        self.keep(open)
    }

    /// Ends the text. The validator is then ready for another.
    ///
    /// # Errors
    ///
    /// When the last character is incomplete.
    pub fn finish(&mut self) -> Result<(), NotUtf8> {
        match std::mem::take(&mut self.len) {
            0 => Ok(()),
            _ => Err(NotUtf8),
        }
    }

    /// Adds one byte to the incomplete character.
    fn complete(&mut self, byte: u8) -> Result<(), NotUtf8> {
        let mut character = [0; 4];
        let len = usize::from(self.len);
        for (to, from) in character.iter_mut().zip(self.open.iter().take(len).chain([&byte])) {
            *to = *from;
        }
        let character = character.get(..=len).ok_or(NotUtf8)?;
        match std::str::from_utf8(character) {
            Ok(_) => self.len = 0,
            Err(_) => self.keep(character)?,
        }
        Ok(())
    }

    /// Stores the start of a character, if it is valid.
    fn keep(&mut self, open: &[u8]) -> Result<(), NotUtf8> {
        match std::str::from_utf8(open) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => {}
            Err(_) => return Err(NotUtf8),
        }
        for (to, from) in self.open.iter_mut().zip(open) {
            *to = *from;
        }
        self.len = open.len() as u8;
        Ok(())
    }
}

/// Splits off an incomplete character at the end.
fn split_open(piece: &[u8]) -> (&[u8], &[u8]) {
    let last = piece.iter().rev().take(3).enumerate();
    for (after, &byte) in last {
        let needs = match byte {
            0x00..=0x7f => 1,
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        if needs > after + 1 {
            return piece.split_at(piece.len() - after - 1);
        }
        break;
    }
    (piece, &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the pieces; where it is refused, if it is: at a piece, or at the end.
    fn check(pieces: &[&[u8]], refused_at: Option<usize>) {
        let mut utf8 = Utf8::new();
        let found = pieces.iter().position(|piece| utf8.push(piece).is_err());
        let found = found.or_else(|| utf8.finish().err().map(|_| pieces.len()));
        assert_eq!(found, refused_at, "{pieces:x?}");
    }

    #[test]
    fn bad_text_is_refused_at_the_first_hopeless_byte() {
        check(&[b"hello"], None);
        check(&["κόσμε".as_bytes()], None);
        check(&[b"\xce", b"\xba"], None);
        check(&[b"\xf0", b"\x9f", b"\x98", b"\x80"], None);
        check(&[b"\xf4\x8f\xbf\xbf"], None);
        // Above U+10FFFF, a surrogate, overlong forms: hopeless at the second byte.
        check(&[b"\xf4", b"\x90", b"\x80\x80"], Some(1));
        check(&[b"\xed", b"\xa0", b"\x80"], Some(1));
        check(&[b"\xe0\x80"], Some(0));
        check(&[b"\xf0\x80"], Some(0));
        // Hopeless at once.
        check(&[b"\xc0"], Some(0));
        check(&[b"\xff"], Some(0));
        check(&[b"\x80"], Some(0));
        check(&[b"a\xf5"], Some(0));
        // Cut short at the end.
        check(&[b"a\xe2\x82"], Some(1));
        check(&[b"a\xe2", b"a"], Some(1));
        check(&[], None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library_however_the_bytes_are_cut(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                prop::collection::vec(
                    prop::sample::select(b"a\x80\xbf\xc2\xe0\xa0\xed\x9f\xf0\x90\xf4\x8f".to_vec()), 0..12),
                ".{0,40}".prop_map(String::into_bytes),
            ],
            cut in 1..5usize,
        ) {
            let mut utf8 = Utf8::new();
            let mut seen = 0;
            let mut refused = false;
            for piece in bytes.chunks(cut) {
                seen += piece.len();
                let hopeless = std::str::from_utf8(&bytes[..seen])
                    .is_err_and(|error| error.error_len().is_some());
                refused = utf8.push(piece).is_err();
                prop_assert_eq!(refused, hopeless);
                if refused {
                    break;
                }
            }
            if !refused {
                prop_assert_eq!(utf8.finish().is_ok(), std::str::from_utf8(&bytes).is_ok());
            }
        }
    }
}
