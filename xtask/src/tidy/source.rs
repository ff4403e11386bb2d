//! What is promised of every Rust file?

use super::lexer::{Source, find};
use super::{Complaint, File};

/// Complains about one file.
pub(super) fn complaints(file: &File) -> Vec<Complaint> {
    let source = Source::new(&file.text);
    let mut found = Vec::new();
    let mut complain = |line, message: &str| found.push(file.complaint(line, message));
    if !file.text.starts_with("//! ") {
        complain(1, "say in a `//! ` line which question this file answers");
    }
    if is_long(file, &source) {
        complain(
            MAX_LINES + 1,
            "a second question has crept in: give it a file, or say `// tidy: long because …`",
        );
    }
    for comment in &source.comments {
        for (offset, line) in comment.text.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
                complain(comment.line + offset, &format!("`{word}`: do it, or leave it"));
            }
        }
    }
    for name in UNFINISHED_MACROS {
        for line in find(&source.code, &[name, "!"]) {
            complain(line, &format!("`{name}!` is not for keeps"));
        }
    }
    for line in find(&source.code, &["#", "[", "ignore"]) {
        complain(line, "a test that does not run keeps no promise");
    }
    let in_tests = file.path.contains("/tests/");
    for line in find(&source.code, &["sleep", "("]) {
        let excused =
            file.text.lines().nth(line - 1).is_some_and(|text| text.contains(SLEEP_EXCUSE));
        if (in_tests || source.is_test(line)) && !excused {
            complain(
                line,
                &format!("a test must not wait by the clock, unless with `// {SLEEP_EXCUSE}`"),
            );
        }
    }
    found
}

fn is_long(file: &File, source: &Source<'_>) -> bool {
    let tests: usize = source.tests.iter().map(|(first, last)| last - first + 1).sum();
    file.path.contains("/src/")
        && file.text.lines().count().saturating_sub(tests) > MAX_LINES
        && !source.comments.iter().any(|comment| comment.text.contains(LONG_EXCUSE))
}

/// Is `word` in `line`, with nothing that belongs to a word on either side?
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// A size is a smell, not a rule: `LONG_EXCUSE` says why a file is long.
const MAX_LINES: usize = 400;
const LONG_EXCUSE: &str = "tidy: long because";
const SLEEP_EXCUSE: &str = "tidy: sleep is the subject";
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A file → the lines that it is complained about, and a word of why.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = complaints(&File::new(path, text));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, (line, word)) in found.iter().zip(expected) {
            assert!(complaint.line == *line && complaint.message.contains(word), "{complaint}");
        }
    }

    #[test]
    fn a_file_says_what_it_answers() {
        check("a/src/x.rs", "//! What?\n", &[]);
        check("a/src/x.rs", "//!\n", &[(1, "question")]);
        check("a/src/x.rs", "use a;\n//! What?\n", &[(1, "question")]);
        check("a/src/x.rs", "", &[(1, "question")]);
    }

    #[test]
    fn a_long_file_says_why_and_its_tests_do_not_count() {
        let lines = |count: usize| "fn a() {}\n".repeat(count);
        let of = |body: &str| format!("//! What?\n{body}");
        check("a/src/x.rs", &of(&lines(399)), &[]);
        check("a/src/x.rs", &of(&lines(400)), &[(401, "second question")]);
        check("a/tests/x.rs", &of(&lines(400)), &[]);
        check("a/src/x.rs", &of(&format!("// tidy: long because a table.\n{}", lines(400))), &[]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(200));
        check("a/src/x.rs", &of(&(lines(399) + &tests)), &[]);
    }

    #[test]
    fn unfinished_work_is_found_in_comments_and_code_only() {
        let of = |body: &str| format!("//! What?\n{body}");
        check("x.rs", &of("// TODO: more\n"), &[(2, "TODO")]);
        check("x.rs", &of("/* a\n b XXX */\n"), &[(3, "XXX")]);
        check("x.rs", &of("// METHODTODO, TODOS\n"), &[]);
        check("x.rs", &of("const A: &str = \"TODO todo!()\";\n"), &[]);
        check("x.rs", &of("fn a() {\n    todo!()\n}\n"), &[(3, "todo!")]);
        check("x.rs", &of("fn a() { dbg!(1); }\n"), &[(2, "dbg!")]);
        check("x.rs", &of("fn a() { unimplemented!() }\n"), &[(2, "unimplemented!")]);
    }

    #[test]
    fn every_test_runs_and_none_waits_by_the_clock() {
        let of = |body: &str| format!("//! What?\n{body}");
        check("a/tests/x.rs", &of("#[ignore = \"slow\"]\nfn a() {}\n"), &[(2, "does not run")]);
        check("a/tests/x.rs", &of("fn a() { sleep(T); }\n"), &[(2, "clock")]);
        check("a/src/x.rs", &of("fn a() { sleep(T); }\n"), &[]);
        check(
            "a/src/x.rs",
            &of("#[cfg(test)]\nmod tests { fn a() { sleep(T); } }\n"),
            &[(3, "clock")],
        );
        let excused = "fn a() { sleep(T); } // tidy: sleep is the subject\n";
        check("a/tests/x.rs", &of(excused), &[]);
    }
}
