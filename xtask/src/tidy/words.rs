//! Is the repository free of paths and package servers of one machine?

use super::tree::{Complaint, File, Tree};

/// Complains about files of any kind.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    tree.files.iter().flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Complaint> {
    // This file has the list.
    if file.path == "xtask/src/tidy/words.rs" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for word in PRIVATE.iter().filter(|word| line.contains(**word)) {
            found.push(
                file.complaint(number + 1, &format!("`{word}` is valid on one machine only")),
            );
        }
        if is_lock_file(&file.path)
            && let Some(url) = foreign_source(line)
        {
            found.push(file.complaint(number + 1, &format!("{url} is not the public registry")));
        }
    }
    found
}

fn is_lock_file(path: &str) -> bool {
    ["Cargo.lock", "package-lock.json"].contains(&path.rsplit('/').next().unwrap_or(path))
}

/// The registry on a line of a lock file, unless it is crates.io.
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
        let found = of_file(&File::new(path, text));
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
