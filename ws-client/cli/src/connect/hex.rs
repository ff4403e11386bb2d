//! How are bytes printed and parsed in hex?

use std::fmt::Write as _;

/// The maximum number of bytes in a dump.
const MAX_DUMP: usize = 1024;

/// A dump with sixteen bytes per line, with offsets and ASCII characters.
pub(super) fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let shown = bytes.get(..MAX_DUMP).unwrap_or(bytes);
    for (number, row) in shown.chunks(16).enumerate() {
        let digits = |half: &[u8]| half.iter().map(|byte| format!(" {byte:02x}")).collect();
        let (left, right) = row.split_at(row.len().min(8));
        let (left, right): (String, String) = (digits(left), digits(right));
        let letter = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        let letters: String = row.iter().map(letter).collect();
        let _ = writeln!(text, "  {:06x} {left:24} {right:24}  {letters}", number * 16);
    }
    if shown.len() < bytes.len() {
        let _ = writeln!(text, "  … and {} more bytes", bytes.len() - shown.len());
    }
    text
}

/// All bytes in one line.
pub(super) fn line(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses pairs of hex digits, with optional spaces. `None` if the text is invalid.
pub(super) fn parse(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16)?).ok())
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high * 16 + low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_offsets_and_characters() {
        let text = dump(b"0123456789abcdefg\x00\xff");
        assert_eq!(
            text,
            "  000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef\n  \
             000010  67 00 ff                                          g..\n"
        );
        assert!(dump(&[0; 2000]).ends_with("… and 976 more bytes\n"));
        assert_eq!(dump(b""), "");
    }

    #[test]
    fn a_printed_line_parses() {
        assert_eq!(line(b"\x00\xff"), "00ff");
        assert_eq!(parse("00 Ff"), Some(vec![0, 255]));
        assert_eq!(parse(""), Some(vec![]));
        assert_eq!(parse("0"), None);
        assert_eq!(parse("zz"), None);
    }
}
