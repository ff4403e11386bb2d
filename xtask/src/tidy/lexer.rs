//! Which words of a Rust file are code, which are text, and which are comments?

/// A piece of a Rust file, in just as much detail as the rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it starts, from 1.
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    Comment,
    /// A string of any sort, with its quotes.
    Text,
    /// A name or a keyword; a number too.
    Word,
    /// A character literal or a lifetime.
    Quote,
    /// One character, or `::` or `->`.
    Mark,
}

/// A file in tokens: code apart from comments, tests apart from the rest.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) code: Vec<Token<'a>>,
    pub(super) comments: Vec<Token<'a>>,
    /// The first and the last line of each `#[cfg(test)]` item.
    pub(super) tests: Vec<(usize, usize)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let (comments, code) =
            lex(text).into_iter().partition(|token: &Token<'_>| token.kind == Kind::Comment);
        let mut source = Self { code, comments, tests: Vec::new() };
        source.tests = test_items(&source.code);
        source
    }

    pub(super) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|(first, last)| (*first..=*last).contains(&line))
    }

    /// The code, but for `#[cfg(test)]` items.
    pub(super) fn outside_tests(&self) -> Vec<Token<'a>> {
        self.code.iter().filter(|token| !self.is_test(token.line)).copied().collect()
    }
}

/// The lines at which these words follow each other.
pub(super) fn find<'t>(code: &'t [Token<'_>], words: &'t [&str]) -> impl Iterator<Item = usize> {
    code.windows(words.len().max(1))
        .filter(|window| window.iter().map(|token| token.text).eq(words.iter().copied()))
        .filter_map(|window| Some(window.first()?.line))
}

/// Takes a file apart. What does not lex as Rust comes out as marks.
pub(super) fn lex(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = measure(rest, first);
        let (text, after) = rest.split_at(len);
        if kind != Kind::Space {
            tokens.push(Token { kind, text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// What `rest` starts with, and how long it is.
fn measure(rest: &str, first: char) -> (Kind, usize) {
    let run = |more: fn(char) -> bool| rest.find(|c: char| !more(c)).unwrap_or(rest.len());
    if first.is_whitespace() {
        return (Kind::Space, run(char::is_whitespace));
    }
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(len) = string(rest) {
        return (Kind::Text, len);
    }
    if let Some(len) = quote(rest) {
        return (Kind::Quote, len);
    }
    if first.is_alphanumeric() || first == '_' {
        return (Kind::Word, run(|c| c.is_alphanumeric() || c == '_'));
    }
    if rest.starts_with("::") || rest.starts_with("->") {
        return (Kind::Mark, 2);
    }
    (Kind::Mark, first.len_utf8())
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut after = rest;
    loop {
        if let Some(inner) = after.strip_prefix("/*") {
            depth += 1;
            after = inner;
        } else if let Some(outer) = after.strip_prefix("*/") {
            depth -= 1;
            after = outer;
        } else {
            let mut chars = after.chars();
            chars.next();
            after = chars.as_str();
        }
        if depth == 0 || after.is_empty() {
            return rest.len() - after.len();
        }
    }
}

/// `"…"`, `b"…"`, `c"…"`, and raw ones.
fn string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    if let Some(raw) = body.strip_prefix('r') {
        let quoted = raw.trim_start_matches('#');
        let hashes = raw.len() - quoted.len();
        let content = quoted.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let after = content.find(&end).map_or(0, |at| content.len() - at - end.len());
        return Some(rest.len() - after);
    }
    closed(body.strip_prefix('"')?, '"').map_or(Some(rest.len()), |after| Some(rest.len() - after))
}

/// `'x'`, `'\n'`, `b'x'`, `'a`. A lifetime has no second quote.
fn quote(rest: &str) -> Option<usize> {
    let content = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('\'')?;
    let mut chars = content.chars();
    let is_literal = chars.next() == Some('\\') || chars.next() == Some('\'');
    if is_literal && let Some(after) = closed(content, '\'') {
        return Some(rest.len() - after);
    }
    let name = content.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    Some(rest.len() - name.len())
}

/// How much is left of `content` after the quote that closes it.
fn closed(content: &str, quote: char) -> Option<usize> {
    let mut chars = content.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(chars.as_str().len());
        }
    }
    None
}

/// The lines of each item under `#[cfg(test)]`: to its closing brace or semicolon.
fn test_items(code: &[Token<'_>]) -> Vec<(usize, usize)> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut items = Vec::new();
    for (start, window) in code.windows(ATTRIBUTE.len()).enumerate() {
        if !window.iter().map(|token| token.text).eq(ATTRIBUTE) {
            continue;
        }
        let Some(first) = window.first() else { continue };
        let mut depth = 0_i32;
        for token in code.iter().skip(start + ATTRIBUTE.len()) {
            depth += match token.text {
                "{" | "(" | "[" => 1,
                "}" | ")" | "]" => -1,
                _ => 0,
            };
            if depth == 0 && matches!(token.text, "}" | ";") {
                items.push((first.line, token.line));
                break;
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Kind, &str)]) {
        let tokens = lex(text);
        assert_eq!(
            tokens.iter().map(|token| (token.kind, token.text)).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn words_in_strings_and_comments_are_not_code() {
        use Kind::{Comment, Mark, Quote, Text, Word};
        check(
            "a::b // c\nd",
            &[(Word, "a"), (Mark, "::"), (Word, "b"), (Comment, "// c"), (Word, "d")],
        );
        check("/* a /* b */ c */d", &[(Comment, "/* a /* b */ c */"), (Word, "d")]);
        check(r#""a \" b" c"#, &[(Text, r#""a \" b""#), (Word, "c")]);
        check(r###"br#"a " b"# c"###, &[(Text, r###"br#"a " b"#"###), (Word, "c")]);
        check(r#"b"\\" "//" x"#, &[(Text, r#"b"\\""#), (Text, r#""//""#), (Word, "x")]);
        check("'a' 'b x", &[(Quote, "'a'"), (Quote, "'b"), (Word, "x")]);
        check(r"'\'' b'\\' y", &[(Quote, r"'\''"), (Quote, r"b'\\'"), (Word, "y")]);
        check("'\"' z", &[(Quote, "'\"'"), (Word, "z")]);
        check("r#type", &[(Word, "r"), (Mark, "#"), (Word, "type")]);
        check("-> -", &[(Mark, "->"), (Mark, "-")]);
    }

    #[test]
    fn what_is_not_closed_ends_with_the_file() {
        for text in ["\"a", "r#\"a", "/*a", "'", "'\\", "b'", "é'"] {
            let length: usize = lex(text).iter().map(|token| token.text.len()).sum();
            assert_eq!(length, text.len(), "{text}");
        }
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let tokens = lex("a\n\"b\n\"\n/*\n*/ c");
        assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 2, 4, 5]);
    }

    #[test]
    fn tests_are_told_from_the_rest() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x::{y, z};\n#[cfg(test)]\n#[expect(q)]\n\
                    mod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new(text);
        assert_eq!(source.tests, [(2, 3), (4, 8)]);
        let words: Vec<_> = source.outside_tests().iter().map(|token| token.text).collect();
        assert_eq!(words.concat(), "fna(){}fnc(){}");
    }

    #[test]
    fn words_are_found_in_a_row() {
        let tokens = lex("std::io\nstd::\nio io::std");
        assert_eq!(find(&tokens, &["std", "::", "io"]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(find(&tokens, &["absent"]).count(), 0);
    }
}
