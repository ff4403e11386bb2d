//! Does the repository speak of the software only?
//!
//! Paths of a machine, and the servers that a machine takes packages from,
//! mean nothing to anybody else, and tell more than they should.

use super::{Complaint, File};

/// Complains about one file of any kind.
pub(super) fn complaints(file: &File) -> Vec<Complaint> {
    // This list would else complain about itself.
    if file.path == "xtask/src/tidy/words.rs" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for word in PRIVATE.iter().filter(|word| line.contains(**word)) {
            found.push(file.complaint(number + 1, &format!("`{word}` is of one machine")));
        }
        if is_lock_file(&file.path)
            && let Some(url) = foreign_source(line)
        {
            found.push(file.complaint(number + 1, &format!("{url} says where one machine got it")));
        }
    }
    found
}

fn is_lock_file(path: &str) -> bool {
    ["Cargo.lock", "package-lock.json"].contains(&path.rsplit('/').next().unwrap_or(path))
}

/// The address on a line of a lock file, unless it is the one that Cargo writes for all.
fn foreign_source(line: &str) -> Option<&str> {
    let line = line.trim();
    let url = line
        .strip_prefix("source = \"")
        .or_else(|| line.strip_prefix("\"resolved\": \""))?
        .trim_end_matches([',', '"']);
    (url != PUBLIC).then_some(url)
}

const PRIVATE: &[&str] =
    &["/home/", "/root/", "/Users/", "--index-url", "--extra-index-url", "--find-links"];

const PUBLIC: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, lines: &[usize]) {
        let found = complaints(&File::new(path, text));
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), lines, "{found:?}");
    }

    #[test]
    fn private_words_are_found_in_any_file() {
        check("README.md", "a\nsee /home/ann/ws\n", &[2]);
        check("a/Cargo.toml", "path = \"/root/x\"\n", &[1]);
        check("a/requirements.txt", "--index-url https://mirror\nwebsockets==15\n", &[1]);
        check("README.md", "the home of network roots\n", &[]);
    }

    #[test]
    fn locked_packages_come_from_the_public_registries() {
        let line = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        check("Cargo.lock", line, &[]);
        check("Cargo.lock", "source = \"git+https://example.com/x\"", &[1]);
        check("a/package-lock.json", "  \"resolved\": \"https://mirror.example/ws\",", &[1]);
        check("README.md", "source = \"elsewhere\"", &[]);
    }
}
