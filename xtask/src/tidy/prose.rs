//! Do comments and documents keep to plain technical English?

use super::markdown;
use super::tree::{Complaint, Tree};

/// Complains about the phrases of [`AVOIDED`] in comments of Rust code and in Markdown.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    let comments = tree.sources.iter().flat_map(|it| of_lines(&it.file.path, &it.comments));
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    let documents = documents.flat_map(|file| of_lines(&file.path, &markdown::lines(&file.text)));
    comments.chain(documents).collect()
}

fn of_lines(path: &str, lines: &[(usize, &str)]) -> Vec<Complaint> {
    let mut found = Vec::new();
    if EXEMPT.iter().any(|(exempt, _)| *exempt == path) {
        return found;
    }
    let words: Vec<Vec<String>> = lines.iter().map(|(_, text)| words(text)).collect();
    for (at, (line, _)) in lines.iter().enumerate() {
        // A phrase may go on in the next line.
        let goes_on = lines.get(at + 1).is_some_and(|(next, _)| *next == line + 1);
        let count = words.get(at).map_or(0, Vec::len);
        let text = words.get(at..).unwrap_or_default().iter().take(1 + usize::from(goes_on));
        let text: Vec<&str> = text.flatten().map(String::as_str).collect();
        for (phrase, instead) in AVOIDED {
            let phrase_words: Vec<&str> = phrase.split(' ').collect();
            if (0..count).any(|at| matches(text.get(at..).unwrap_or_default(), &phrase_words)) {
                let message = format!("avoid `{phrase}`: {instead}");
                found.push(Complaint::new(path, *line, message));
            }
        }
    }
    found
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Whether `words` start with `phrase`, in which `…` stands for one to three words.
fn matches(words: &[&str], phrase: &[&str]) -> bool {
    match phrase.split_first() {
        None => true,
        Some((&"…", rest)) => {
            (1..=3).any(|skip| words.get(skip..).is_some_and(|words| matches(words, rest)))
        }
        Some((first, rest)) => {
            words.split_first().is_some_and(|(word, words)| word == first && matches(words, rest))
        }
    }
}

/// A phrase, and what to write instead.
const AVOIDED: &[(&str, &str)] = &[
    ("whoever", "name the caller, the task or the peer"),
    ("whomever", "name the caller, the task or the peer"),
    ("for ever", "`without a limit`, `never ends`"),
    ("likewise", "`also`, or say it again"),
    ("in vain", "say what happens"),
    ("says so", "say what it returns or logs"),
    ("say so", "say what it returns or logs"),
    ("is told", "`gets`, `is notified`, `receives`"),
    ("are told", "`get`, `are notified`, `receive`"),
    ("was told", "`got`, `was notified`, `received`"),
    ("be told", "`get`, `be notified`, `receive`"),
    ("who has had", "start with the subject"),
    ("what is there", "name it"),
    ("none is", "`there is no …`"),
    ("none are", "`there are no …`"),
    ("of its own accord", "`by itself`"),
    ("have … way", "`handlers yield to writers`"),
    ("gives way", "`yields`"),
    ("give way", "`yield`"),
    ("that is to say", "say it once"),
    ("becomes of", "`happens to`"),
    ("for keeps", "`permanent`"),
];

/// A file that may have them, and why.
const EXEMPT: &[(&str, &str)] =
    &[("CONTRIBUTING.md", "it shows sentences before and after they were reworded")];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = plant(&[(path, text)], complaints);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, (line, word)) in found.iter().zip(expected) {
            assert!(complaint.line == *line && complaint.message.contains(word), "{complaint}");
        }
    }

    #[test]
    fn phrases_are_found_in_comments_and_documents() {
        check(
            "a.rs",
            "//! Whoever waits\n/// is told, for ever.\nfn a() {}",
            &[(1, "whoever"), (2, "for ever"), (2, "is told")],
        );
        check("a.md", "Handlers have to give them way.", &[(1, "have … way")]);
        check("a.md", "It stays for\never.\n\nIt is\n\ntold.", &[(1, "for ever")]);
        check("a.md", "A hat none isolates, forever.", &[]);
        check("a.rs", "const WHOEVER: &str = \"whoever\";", &[]);
        check("a.md", "```text\nwhoever\n```", &[]);
        check("CONTRIBUTING.md", "whoever", &[]);
    }
}
