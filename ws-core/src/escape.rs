//! How is text of a peer written into logs and errors, so that it cannot imitate other output?

use std::fmt::{self, Write as _};

/// Text from a peer, for a log line, an error text or a terminal. Its `Display` and its `Debug`
/// write one line:
///
/// * Control characters, line and paragraph separators (U+2028, U+2029) and characters that change
///   the direction of text are escaped as in a Rust string: `\n`, `\u{1b}`, `\u{202e}`.
/// * A byte that is not UTF-8 is written as `\xff`.
/// * After 256 bytes of input, the rest is replaced by `…`, unless it is [`uncut`](Self::uncut).
///
/// Everything else is unchanged, also quotes and backslashes. This library writes all text of
/// peers by this type: close reasons, event names, ids, paths, texts of handlers' errors.
///
/// ```
/// use ws_core::Escaped;
///
/// let reason = "bye\n\u{1b}[31mERROR all is lost";
/// assert_eq!(Escaped::new(reason).to_string(), r"bye\n\u{1b}[31mERROR all is lost");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<'a> {
    text: &'a [u8],
    limit: usize,
}

/// The longest text, in bytes of input.
const LIMIT: usize = 256;

impl<'a> Escaped<'a> {
    /// Text of at most 256 bytes; more is cut.
    pub fn new(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { text: text.as_ref(), limit: LIMIT }
    }

    /// Text of any length. Use it only where something else bounds the length.
    #[must_use]
    pub const fn uncut(mut self) -> Self {
        self.limit = usize::MAX;
        self
    }

    /// The text that is written. A character at the limit is left out, not divided.
    fn kept(self) -> &'a [u8] {
        let Some(kept) = self.text.get(..self.limit) else { return self.text };
        match self.text.get(self.limit) {
            // The first byte that is left out continues a character.
            Some(0x80..=0xbf) => {
                let last = kept.iter().rev().take(3).position(|byte| !matches!(byte, 0x80..=0xbf));
                let start = last.map_or(kept.len(), |back| kept.len() - 1 - back);
                kept.get(..start).unwrap_or_default()
            }
            _ => kept,
        }
    }
}

/// Whether a character is escaped.
fn is_escaped(c: char) -> bool {
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    // Unicode Standard Annex #9, §2: marks, embeddings, overrides and isolates.
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_separator || is_bidi
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        let is_cut = kept.len() < self.text.len();
        if let Ok(text) = str::from_utf8(kept)
            && !is_cut
            && !text.contains(is_escaped)
        {
            return f.pad(text);
        }
        for chunk in kept.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_escaped(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if is_cut { f.write_char('…') } else { Ok(()) }
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, expected: &str) {
        assert_eq!(Escaped::new(&text).to_string(), expected);
        assert_eq!(format!("{:?}", Escaped::new(&text)), expected);
    }

    #[test]
    fn a_peer_cannot_begin_a_line_or_change_how_it_is_shown() {
        check("", "");
        check("bye, \"Ann\" \\ ü 日本 👩‍🚀", "bye, \"Ann\" \\ ü 日本 👩‍🚀");
        check("a\nb\rc\td", r"a\nb\rc\td");
        check("\0\x07\x1b[31m\x7f\u{9b}2J", r"\u{0}\u{7}\u{1b}[31m\u{7f}\u{9b}2J");
        check("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}");
        check("\u{202e}gpj\u{202c}.exe", r"\u{202e}gpj\u{202c}.exe");
        check(
            "\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}",
            r"\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}",
        );
        check(b"a\xffb\xe2\x82", r"a\xffb\xe2\x82");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let (fits, long) = ("x".repeat(256), "x".repeat(257));
        check(&fits, &fits);
        check(&long, &format!("{fits}…"));
        let x = |count| "x".repeat(count);
        // Characters of two to four bytes, at every place around the limit.
        for (c, before) in
            ["é", "€", "👩"].into_iter().flat_map(|c| (250..257).map(move |at| (c, at)))
        {
            let fitting = (before..=256).step_by(c.len()).count() - 1;
            let expected = format!("{}{}…", x(before), c.repeat(fitting));
            check(x(before) + &c.repeat(9), &expected);
        }
        check(b"\x80".repeat(300), &(r"\x80".repeat(256) + "…"));
        assert_eq!(Escaped::new(&long).uncut().to_string(), long);
    }

    #[test]
    fn plain_text_is_padded() {
        assert_eq!(format!("{:>4}|{:<4}|", Escaped::new("ab"), Escaped::new("cd")), "  ab|cd  |");
    }
}
