//! Which tokens, comments and items does a Rust file consist of?

use std::ops::Range;

use proc_macro2::{Span, TokenStream, TokenTree};

use super::tree::File;

/// A token, in as much detail as the checks need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// The line where it starts, from 1.
    pub(super) line: usize,
    /// The byte where it starts.
    start: usize,
    /// For an opening bracket, the index of the closing one.
    close: Option<usize>,
}

/// A Rust file in tokens, with its comments and tests apart.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a File,
    /// The code. Doc comments are comments, not code.
    pub(super) tokens: Vec<Token<'a>>,
    /// Each line of each comment, with its number.
    pub(super) comments: Vec<(usize, &'a str)>,
    /// The first and the last line of each item under `#[cfg(test)]`.
    pub(super) tests: Vec<(usize, usize)>,
    /// Why the file is not Rust, if it is not.
    pub(super) error: Option<String>,
}

/// An item of a module, an `impl` or a trait.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// The keyword: `fn`, `struct`, `use`, `impl`, …; the name of a macro that is called.
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) visibility: Visibility,
    pub(super) line: usize,
    pub(super) attributes: Range<usize>,
    /// From the keyword to the body or the semicolon.
    pub(super) header: Range<usize>,
    /// The tokens between the braces.
    pub(super) body: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    Private,
    /// `pub(crate)`, `pub(super)`, `pub(in …)`
    Restricted,
    Public,
}

/// One name that a `use` brings into scope: `use a::{b as c}` is the path `a::b` and the name `c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import<'a> {
    pub(super) path: Vec<&'a str>,
    /// `*` for a glob.
    pub(super) name: &'a str,
    pub(super) line: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        let mut source =
            Self { file, tokens: Vec::new(), comments: Vec::new(), tests: Vec::new(), error: None };
        // The spans of earlier files are not needed any more.
        proc_macro2::extra::invalidate_current_thread_spans();
        match file.text.parse::<TokenStream>() {
            Ok(stream) => source.flatten(stream),
            Err(error) => source.error = Some(error.to_string()),
        }
        source.number_lines();
        source.find_tests();
        source
    }

    pub(super) fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// The tokens without the space between them.
    pub(super) fn join(&self, range: Range<usize>) -> String {
        range.map(|at| self.text(at)).collect()
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(1, |token| token.line)
    }

    /// The bracket that closes the one at `at`; `at` itself for other tokens.
    pub(super) fn close(&self, at: usize) -> usize {
        self.tokens.get(at).and_then(|token| token.close).unwrap_or(at)
    }

    /// Whether there is a name or a keyword at `at`.
    pub(super) fn is_word(&self, at: usize) -> bool {
        self.text(at).starts_with(|c: char| c.is_alphabetic() || c == '_')
            && !self.text(at).ends_with(['"', '\'', '#'])
    }

    pub(super) fn has_word(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token.text == word)
    }

    /// Whether these tokens follow each other, from `at`.
    pub(super) fn follows(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.text(at + offset) == *word)
    }

    /// The lines on which these tokens start to follow each other.
    pub(super) fn find(&self, words: &[&str]) -> Vec<usize> {
        let starts = (0..self.tokens.len()).filter(|at| self.follows(*at, words));
        starts.map(|at| self.line(at)).collect()
    }

    pub(super) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|(first, last)| (*first..=*last).contains(&line))
    }

    /// The items within a body. Items under `#[cfg(test)]` are left out.
    pub(super) fn items_in(&self, range: Range<usize>) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let item = self.item(at, range.end);
            at = item.body.end.max(item.header.end) + 1;
            if !self.is_test(item.line) {
                items.push(item);
            }
        }
        items
    }

    fn item(&self, start: usize, limit: usize) -> Item<'a> {
        let mut at = start;
        while self.text(at) == "#" {
            at += if self.text(at + 1) == "!" { 2 } else { 1 };
            at = self.close(at) + 1;
        }
        let attributes = start..at;
        let visibility = match (self.text(at), self.text(at + 1)) {
            ("pub", "(") => Visibility::Restricted,
            ("pub", _) => Visibility::Public,
            _ => Visibility::Private,
        };
        at = match visibility {
            Visibility::Private => at,
            Visibility::Restricted => self.close(at + 1) + 1,
            Visibility::Public => at + 1,
        };
        let mut keyword = at;
        loop {
            keyword += match (self.text(keyword), self.text(keyword + 1)) {
                ("async" | "unsafe" | "default", _) | ("const", "fn" | "async" | "unsafe") => 1,
                ("extern", abi) if abi.starts_with('"') => 2,
                _ => break,
            };
        }
        let kind = self.text(keyword);
        let name = self.text(keyword + if self.text(keyword + 1) == "!" { 2 } else { 1 });
        let has_body = !matches!(kind, "use" | "const" | "static" | "type");
        let mut end = keyword;
        while end < limit && self.text(end) != ";" && !(has_body && self.text(end) == "{") {
            end = self.close(end) + 1;
        }
        let body = if self.text(end) == "{" { end + 1..self.close(end) } else { end..end };
        let line = self.line(keyword);
        Item { kind, name, visibility, line, attributes, header: keyword..end, body }
    }

    /// The type that an `impl` is for, and the trait that it implements.
    pub(super) fn impl_of(&self, item: &Item<'a>) -> (&'a str, Option<&'a str>) {
        let mut depth = 0_i32;
        let (mut last, mut of) = ("", None);
        for at in item.header.clone().skip(1) {
            match self.text(at) {
                "<" => depth += 1,
                ">" => depth -= 1,
                "where" if depth == 0 => break,
                "for" if depth == 0 => of = Some(last),
                name if depth == 0 && self.is_word(at) => last = name,
                _ => {}
            }
        }
        (last, of)
    }

    /// The names that the `use` at `keyword` brings into scope.
    pub(super) fn imports(&self, keyword: usize) -> Vec<Import<'a>> {
        let mut found = Vec::new();
        self.use_tree(keyword + 1, &[], &mut found);
        found
    }

    /// Reads one tree of a `use`, and returns where it ends: at a comma, a bracket or a semicolon.
    fn use_tree(&self, mut at: usize, prefix: &[&'a str], found: &mut Vec<Import<'a>>) -> usize {
        let mut path = prefix.to_vec();
        let (line, start) = (self.line(at), at);
        loop {
            match self.text(at) {
                "::" => at += 1,
                "{" => {
                    let close = self.close(at);
                    while at < close {
                        at = self.use_tree(at + 1, &path, found);
                    }
                    return close + 1;
                }
                "*" => {
                    found.push(Import { path, name: "*", line });
                    return at + 1;
                }
                word if self.is_word(at) && word != "as" => {
                    if word != "self" || path.is_empty() {
                        path.push(word);
                    }
                    at += 1;
                }
                next => {
                    let name =
                        if next == "as" { self.text(at + 1) } else { path.last().unwrap_or(&"") };
                    if at > start {
                        found.push(Import { path, name, line });
                    }
                    return if next == "as" { at + 2 } else { at };
                }
            }
        }
    }

    /// Whether an attribute is `cfg(test)` or `cfg(all(test, …))`.
    fn is_test_only(&self, attribute: Range<usize>) -> bool {
        let text = self.join(attribute);
        let mut words = text.split(['(', ',', ')']);
        text == "[cfg(test)" || text.starts_with("[cfg(all(") && words.any(|it| it == "test")
    }

    fn find_tests(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let inner = self.follows(at, &["#", "!", "["]);
            let bracket = at + if inner { 2 } else { 1 };
            let is_attribute = self.text(at) == "#" && self.text(bracket) == "[";
            if !is_attribute || !self.is_test_only(bracket..self.close(bracket)) {
                at += 1;
                continue;
            }
            let last = if inner { self.tokens.len() } else { self.end_of_item(bracket) };
            self.tests.push((self.line(at), self.line(last.min(self.tokens.len() - 1))));
            at = last + 1;
        }
    }

    /// Where the item ends that has an attribute at `bracket`.
    fn end_of_item(&self, bracket: usize) -> usize {
        let mut at = self.close(bracket) + 1;
        let mut depth = 0_i32;
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => return self.close(at),
                ";" | ")" | "]" | "}" => return at,
                "," if depth == 0 => return at,
                "<" => depth += 1,
                ">" => depth -= 1,
                _ => {}
            }
            at = self.close(at) + 1;
        }
        at
    }

    fn flatten(&mut self, stream: TokenStream) {
        for tree in stream {
            // A doc comment is lexed as an attribute, each token of which spans all of it.
            if self.slice(tree.span()).1.starts_with(['/']) && !matches!(tree, TokenTree::Punct(_))
            {
                continue;
            }
            match tree {
                TokenTree::Group(group) => {
                    let open = self.tokens.len();
                    self.push(group.span_open());
                    self.flatten(group.stream());
                    let close = self.tokens.len();
                    self.push(group.span_close());
                    if let Some(token) = self.tokens.get_mut(open) {
                        token.close = Some(close);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Literal(_) => self.push(tree.span()),
                TokenTree::Punct(mark) => {
                    if self.slice(mark.span()).1.len() == mark.as_char().len_utf8() {
                        self.push(mark.span());
                    }
                }
            }
        }
    }

    fn slice(&self, span: Span) -> (usize, &'a str) {
        let range = span.byte_range();
        (range.start, self.file.text.get(range).unwrap_or_default())
    }

    fn push(&mut self, span: Span) {
        let (start, text) = self.slice(span);
        if let Some(last) = self.tokens.last_mut()
            && last.start + last.text.len() == start
            && matches!((last.text, text), (":", ":") | ("-", ">"))
        {
            last.text = self.file.text.get(last.start..start + 1).unwrap_or_default();
        } else {
            self.tokens.push(Token { text, line: 1, start, close: None });
        }
    }

    /// Numbers the lines of tokens, and finds comments, which are the text between tokens.
    fn number_lines(&mut self) {
        if self.error.is_some() {
            return;
        }
        let text = &self.file.text;
        let (mut line, mut end) = (1, 0);
        let mut comment = |gap: &'a str, line: &mut usize| {
            for (offset, piece) in gap.split('\n').enumerate() {
                *line += usize::from(offset > 0);
                if !piece.trim().is_empty() {
                    self.comments.push((*line, piece.trim()));
                }
            }
        };
        for token in &mut self.tokens {
            comment(text.get(end..token.start).unwrap_or_default(), &mut line);
            token.line = line;
            line += token.text.matches('\n').count();
            end = token.start + token.text.len();
        }
        comment(text.get(end..).unwrap_or_default(), &mut line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file → its tokens, and its comments with their lines.
    #[track_caller]
    fn check(text: &str, tokens: &[&str], comments: &[(usize, &str)]) {
        let file = File::new("x.rs", text);
        let source = Source::new(&file);
        assert_eq!(source.error, None);
        assert_eq!(source.tokens.iter().map(|token| token.text).collect::<Vec<_>>(), tokens);
        assert_eq!(source.comments, comments);
    }

    #[test]
    fn words_in_strings_and_comments_are_not_code() {
        check("a::b // c\nd", &["a", "::", "b", "d"], &[(1, "// c")]);
        check("/* a\n/* b */ c */d", &["d"], &[(1, "/* a"), (2, "/* b */ c */")]);
        check(
            "//! é\n/// b\nfn c() {}",
            &["fn", "c", "(", ")", "{", "}"],
            &[(1, "//! é"), (2, "/// b")],
        );
        check(
            "#[doc = \"a // b\"] x /*! c */",
            &["#", "[", "doc", "=", "\"a // b\"", "]", "x"],
            &[(1, "/*! c */")],
        );
        check("a -> b / c - d", &["a", "->", "b", "/", "c", "-", "d"], &[]);
    }

    #[test]
    fn a_file_that_is_not_rust_has_an_error() {
        let file = File::new("x.rs", "fn a( {");
        assert!(Source::new(&file).error.is_some());
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let file = File::new("x.rs", "a\n\"b\n\"\n/*\n*/ c");
        let source = Source::new(&file);
        assert_eq!(source.tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn items_under_cfg_test_are_tests() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x::{y, z};\n#[cfg(all(test, unix))]\n#[expect(q)]\n\
                    mod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(any(test, unix))]\nfn d() {}\n";
        let file = File::new("x.rs", text);
        let source = Source::new(&file);
        assert_eq!(source.tests, [(2, 3), (4, 8)]);
        let names: Vec<_> =
            source.items_in(0..source.tokens.len()).iter().map(|item| item.name).collect();
        assert_eq!(names, ["a", "c", "d"]);
        let file = File::new("x.rs", "//! What?\n#![cfg(test)]\nfn a() {}\nfn b() {}\n");
        assert_eq!(Source::new(&file).tests, [(2, 4)]);
    }

    #[test]
    fn items_have_a_kind_a_name_and_a_visibility() {
        let text = "#[a] pub async unsafe fn f<T>(x: [u8; 2]) -> u8 where T: A { b }\n\
                    pub(crate) struct S(u8);\nenum E { V }\npub const fn g() {}\n\
                    const C: A = A { b: 1 };\nmacro_rules! m { () => {} }\nm! { x }\nm!();\n\
                    extern \"C\" { fn h(); }\nunsafe impl<T: X<Y>> A<T> for b::S<T> where T: C {}";
        let file = File::new("x.rs", text);
        let source = Source::new(&file);
        let items = source.items_in(0..source.tokens.len());
        let found: Vec<_> = items.iter().map(|it| (it.kind, it.name, it.visibility)).collect();
        use Visibility::{Private, Public, Restricted};
        assert_eq!(
            found.get(..6).unwrap(),
            [
                ("fn", "f", Public),
                ("struct", "S", Restricted),
                ("enum", "E", Private),
                ("fn", "g", Public),
                ("const", "C", Private),
                ("macro_rules", "m", Private),
            ]
        );
        assert_eq!(found.len(), 10);
        assert_eq!(source.impl_of(items.last().unwrap()), ("S", Some("A")));
    }

    #[test]
    fn trees_of_imports_are_unfolded() {
        let file = File::new("x.rs", "use ::a::{self, b::{C as D, *}, super_::e,};\nuse f as g;");
        let source = Source::new(&file);
        let imports: Vec<_> = source
            .items_in(0..source.tokens.len())
            .iter()
            .flat_map(|item| source.imports(item.header.start))
            .map(|import| (import.path.join("::"), import.name, import.line))
            .collect();
        let owned = |path: &str, name, line| (path.to_owned(), name, line);
        assert_eq!(
            imports,
            [
                owned("a", "a", 1),
                owned("a::b::C", "D", 1),
                owned("a::b", "*", 1),
                owned("a::super_::e", "e", 1),
                owned("f", "g", 2),
            ]
        );
    }

    #[test]
    fn tokens_are_found_in_a_row() {
        let file = File::new("x.rs", "std::io\nstd::\nio io::std");
        let source = Source::new(&file);
        assert_eq!(source.find(&["std", "::", "io"]), [1, 2]);
        assert!(source.find(&["absent"]).is_empty());
    }
}
