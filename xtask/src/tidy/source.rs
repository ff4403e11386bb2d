//! Does every Rust file open with a question, have a limited length, and keep its tests honest?

use super::syntax::Source;
use super::tree::{Complaint, Tree};

/// The first line is the question that the file answers.
pub(super) fn questions(tree: &Tree<'_>) -> Vec<Complaint> {
    let complaint = |source: &Source<'_>| {
        let mut lines = source.file.text.lines();
        let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let question = if first.ends_with('?') { first } else { second };
        let wrong = if !first.starts_with("//! ") {
            "start with `//! ` and the question that this file answers"
        } else if !needs_question(&source.file.path) {
            return None;
        } else if !(question.starts_with("//! ") && question.ends_with('?')) {
            "the first sentence is no question: one line, or two, with `?` at the end"
        } else if first.chars().count() > MAX_COLUMNS {
            "the question is too long: at most 110 columns"
        } else {
            return None;
        };
        Some(source.file.complaint(1, wrong))
    };
    tree.sources.iter().filter_map(complaint).collect()
}

/// A source file has at most [`MAX_LINES`] lines beside its tests, or a reason.
pub(super) fn lengths(tree: &Tree<'_>) -> Vec<Complaint> {
    let complaint = |source: &Source<'_>| {
        let tests: usize = source.tests.iter().map(|(first, last)| last - first + 1).sum();
        let length = source.file.text.lines().count().saturating_sub(tests);
        let head = source.file.text.lines().take_while(|line| line.starts_with("//!"));
        let has_reason = head.into_iter().any(|line| line.starts_with(LONG_REASON));
        (is_source(&source.file.path) && length > MAX_LINES && !has_reason).then(|| {
            let message = format!("{length} lines: split the file, or say `{LONG_REASON} …`");
            source.file.complaint(MAX_LINES + 1, &message)
        })
    };
    tree.sources.iter().filter_map(complaint).collect()
}

/// A file is Rust, has no unfinished work, and its tests run and do not sleep.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    tree.sources.iter().flat_map(of_file).collect()
}

fn of_file(source: &Source<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut complain = |line, message: &str| found.push(source.file.complaint(line, message));
    if let Some(error) = &source.error {
        complain(1, &format!("cannot read this file as Rust: {error}"));
    }
    for (number, line) in &source.comments {
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            complain(*number, &format!("`{word}`: do it, or remove the comment"));
        }
    }
    for name in UNFINISHED_MACROS {
        for line in source.find(&[name, "!"]) {
            complain(line, &format!("`{name}!` must not be committed"));
        }
    }
    for line in source.find(&["#", "[", "ignore"]) {
        complain(line, "a test must not be ignored");
    }
    let in_tests = source.file.path.contains("/tests/");
    for line in source.find(&["sleep", "("]) {
        let text = source.file.text.lines().nth(line - 1).unwrap_or_default();
        if (in_tests || source.is_test(line)) && !text.contains(SLEEP_REASON) {
            complain(line, &format!("a test must not sleep, unless with `// {SLEEP_REASON}`"));
        }
    }
    found
}

fn is_source(path: &str) -> bool {
    path.contains("/src/")
}

/// The head of a `lib.rs` is the page of its crate on docs.rs, and begins with what the crate is.
fn needs_question(path: &str) -> bool {
    is_source(path) && !path.ends_with("/src/lib.rs")
        || path.starts_with("examples/") && !path.starts_with("examples/tests/")
}

/// Whether `line` has `word` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

const MAX_COLUMNS: usize = 110;
const MAX_LINES: usize = 400;
const LONG_REASON: &str = "//! Longer than 400 lines because";
const SLEEP_REASON: &str = "tidy: sleep is the subject";
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// A file → the lines that are complained about, with a word of each complaint.
    #[track_caller]
    fn check(
        check: fn(&Tree<'_>) -> Vec<Complaint>,
        path: &str,
        text: &str,
        expected: &[(usize, &str)],
    ) {
        let found = plant(&[(path, text)], check);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, (line, word)) in found.iter().zip(expected) {
            assert!(complaint.line == *line && complaint.message.contains(word), "{complaint}");
        }
    }

    #[test]
    fn a_file_opens_with_a_question() {
        let check = |path, text: &str, expected: &[_]| check(questions, path, text, expected);
        for path in ["a/src/x.rs", "examples/x.rs"] {
            check(path, "//! What is it?\n", &[]);
            check(path, "//! What is it,\n//! and why?\n//! More.\n", &[]);
            check(path, "//! It is this.\n", &[(1, "no question")]);
            check(path, "//! It is this.\n//! And that.\n//! Why?\n", &[(1, "no question")]);
            check(path, "//!\n", &[(1, "question")]);
            check(path, "use a;\n//! What?\n", &[(1, "question")]);
            check(path, "", &[(1, "question")]);
            check(path, &format!("//! {}?\n", "x".repeat(105)), &[]);
            check(path, &format!("//! {}?\n", "x".repeat(106)), &[(1, "too long")]);
        }
        check("a/tests/x.rs", "//! A promise.\n", &[]);
        check("examples/tests/x.rs", "//! A promise.\n", &[]);
        check("a/tests/x.rs", "use a;", &[(1, "question")]);
    }

    #[test]
    fn a_long_file_has_a_reason_and_its_tests_do_not_count() {
        let check = |path, text: &str, expected: &[_]| check(lengths, path, text, expected);
        let lines = |count: usize| "fn a() {}\n".repeat(count);
        let of = |body: &str| format!("//! What?\n{body}");
        check("a/src/x.rs", &of(&lines(399)), &[]);
        check("a/src/x.rs", &of(&lines(400)), &[(401, "401 lines")]);
        check("a/tests/x.rs", &of(&lines(400)), &[]);
        let reason = "//!\n//! Longer than 400 lines because it is a table.\n";
        check("a/src/x.rs", &of(&format!("{reason}{}", lines(400))), &[]);
        check("a/src/x.rs", &of(&format!("{}{reason}", lines(400))), &[(401, "403 lines")]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(200));
        check("a/src/x.rs", &of(&(lines(399) + &tests)), &[]);
    }

    #[test]
    fn unfinished_work_is_found_in_comments_and_code_only() {
        let check = |text, expected: &[_]| check(complaints, "x.rs", text, expected);
        check("//! What?\n// TODO: more\n", &[(2, "TODO")]);
        check("/* a\n b XXX */\n", &[(2, "XXX")]);
        check("// METHODTODO, TODOS\n", &[]);
        check("const A: &str = \"TODO todo!()\";\n", &[]);
        check("fn a() {\n    todo!()\n}\n", &[(2, "todo!")]);
        check("fn a() { dbg!(1); }\n", &[(1, "dbg!")]);
        check("fn a() { unimplemented!() }\n", &[(1, "unimplemented!")]);
        check("fn a() {", &[(1, "as Rust")]);
    }

    #[test]
    fn every_test_runs_and_none_sleeps() {
        let check = |path, text, expected: &[_]| check(complaints, path, text, expected);
        check("a/tests/x.rs", "#[ignore = \"slow\"]\nfn a() {}\n", &[(1, "ignored")]);
        check("a/tests/x.rs", "fn a() { sleep(T); }\n", &[(1, "sleep")]);
        check("a/src/x.rs", "fn a() { sleep(T); }\n", &[]);
        let test = "#[cfg(test)]\nmod tests { fn a() { sleep(T); } }\n";
        check("a/src/x.rs", test, &[(2, "sleep")]);
        let excused = "fn a() { sleep(T); } // tidy: sleep is the subject\n";
        check("a/tests/x.rs", excused, &[]);
    }
}
