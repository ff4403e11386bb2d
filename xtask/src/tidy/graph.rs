//! Which modules does each crate have, and what does a path in a module name?

use std::collections::BTreeMap;
use std::ops::Range;

use super::syntax::{Import, Item, Source, Visibility};
use super::tree;

/// A library, a program or an example. The first module is its root.
#[derive(Debug)]
pub(super) struct Crate<'a> {
    /// The path of a library up to `/src`; of a program, its file or folder.
    pub(super) name: &'a str,
    pub(super) is_library: bool,
    pub(super) modules: Vec<Module<'a>>,
}

/// A file, or an inline module. Modules that only tests have are left out.
#[derive(Debug)]
pub(super) struct Module<'a> {
    pub(super) path: Vec<&'a str>,
    pub(super) source: &'a Source<'a>,
    /// The module of the file that this one is in: itself, unless it is inline.
    pub(super) file: usize,
    pub(super) items: Vec<Item<'a>>,
    /// The attributes of the module and of those around it, as text.
    pub(super) attributes: String,
    pub(super) imports: Vec<(Import<'a>, Visibility)>,
    parent: usize,
    children: BTreeMap<&'a str, usize>,
    /// The folder of its child modules.
    folder: String,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Module(usize),
    /// Something that this module declares.
    Item(usize),
}

impl<'a> Crate<'a> {
    /// The crate of which `root` is the root, if it is one.
    pub(super) fn new(
        root: &'a Source<'a>,
        by_path: &BTreeMap<&str, &'a Source<'a>>,
    ) -> Option<Self> {
        let (name, is_library) = root_of(&root.file.path)?;
        let folder = parent_of(&root.file.path).to_owned();
        let mut modules = vec![Module::new(root, 0..root.tokens.len(), folder)];
        let mut at = 0;
        while let Some(parent) = modules.get_mut(at) {
            let found = parent.items.iter().filter(|item| item.kind == "mod");
            let found: Vec<_> = found.filter_map(|item| parent.child(item, by_path)).collect();
            let (file, path) = (parent.file, parent.source.file.path.as_str());
            let first = modules.len();
            for (index, mut child) in (first..).zip(found) {
                child.parent = at;
                child.file = if child.source.file.path == path { file } else { index };
                if let (Some(name), Some(parent)) = (child.path.last(), modules.get_mut(at)) {
                    parent.children.insert(name, index);
                }
                modules.push(child);
            }
            at += 1;
        }
        Some(Self { name, is_library, modules })
    }

    /// The name of a module for people: `conn/driver/reader`.
    pub(super) fn name_of(&self, module: usize) -> String {
        match self.modules.get(module).map(|module| module.path.join("/")) {
            Some(path) if !path.is_empty() => path,
            _ => "the crate's root".to_owned(),
        }
    }

    /// The folder of a module: its own path if it has files below it, else the path of its parent.
    pub(super) fn folder_of(&self, module: usize) -> &[&'a str] {
        let Some(it) = self.modules.get(module) else { return &[] };
        let mut files = self.modules.iter().enumerate().filter(|(index, it)| it.file == *index);
        let has_files = files.any(|(_, other)| {
            other.path.len() == it.path.len() + 1 && other.path.starts_with(&it.path)
        });
        let parent = it.path.len().saturating_sub(1);
        if has_files { &it.path } else { it.path.get(..parent).unwrap_or_default() }
    }

    /// What a path means within a module, through re-exports. `None` for other crates.
    pub(super) fn resolve(&self, module: usize, path: &[&str]) -> Option<Target> {
        self.resolve_within(module, path, 0)
    }

    fn resolve_within(&self, module: usize, path: &[&str], depth: usize) -> Option<Target> {
        if depth > MAX_REEXPORTS {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut target = match *first {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules.get(module)?.parent),
            name => self.lookup(module, name, depth)?,
        };
        while let (Target::Module(at), Some((name, after))) = (target, rest.split_first()) {
            target = match *name {
                "super" => Target::Module(self.modules.get(at)?.parent),
                // What is not found is made by a macro, or is of another crate.
                name => self.lookup(at, name, depth).unwrap_or(Target::Item(at)),
            };
            rest = after;
        }
        Some(target)
    }

    fn lookup(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let it = self.modules.get(module)?;
        if let Some(child) = it.children.get(name) {
            return Some(Target::Module(*child));
        }
        let declares = |item: &Item<'_>| item.name == name && DECLARATIONS.contains(&item.kind);
        if it.items.iter().any(declares) {
            return Some(Target::Item(module));
        }
        let named = it.imports.iter().filter(|(import, _)| import.name == name);
        let globs = it.imports.iter().filter(|(import, _)| import.name == "*");
        named
            .filter(|(import, _)| import.path != [name])
            .find_map(|(import, _)| self.resolve_within(module, &import.path, depth + 1))
            .or_else(|| {
                globs.into_iter().find_map(|(import, _)| {
                    match self.resolve_within(module, &import.path, depth + 1)? {
                        Target::Module(of) if of != module => self.lookup(of, name, depth + 1),
                        _ => None,
                    }
                })
            })
    }

    /// The names that a module exports with `pub`, and what they name.
    pub(super) fn exports(&self, module: usize) -> Vec<(&'a str, Option<Target>)> {
        let Some(it) = self.modules.get(module) else { return Vec::new() };
        let items = it.items.iter().filter(|item| item.visibility == Visibility::Public);
        let mut found: Vec<_> = items
            .filter(|item| DECLARATIONS.contains(&item.kind))
            .map(|item| (item.name, Some(Target::Item(module))))
            .collect();
        for (import, _) in it.imports.iter().filter(|(_, how)| *how == Visibility::Public) {
            match (import.name, self.resolve(module, &import.path)) {
                ("*", Some(Target::Module(of))) if of != module => found.extend(self.exports(of)),
                ("_", _) => {}
                (name, target) => found.push((name, target)),
            }
        }
        found
    }

    /// The public modules, with their public paths: the root, and each `pub mod` in a public module,
    /// or in a module of which a public one exports all names.
    pub(super) fn public_modules(&self) -> Vec<(Vec<&'a str>, usize)> {
        let mut found = vec![(Vec::new(), 0)];
        let mut at = 0;
        while let Some((path, module)) = found.get(at).cloned() {
            let children = self.public_children(module).into_iter();
            found.extend(children.map(|(name, child)| ([&*path, &[name]].concat(), child)));
            at += 1;
        }
        found
    }

    fn public_children(&self, module: usize) -> Vec<(&'a str, usize)> {
        let Some(it) = self.modules.get(module) else { return Vec::new() };
        let is_public =
            |item: &&Item<'_>| item.kind == "mod" && item.visibility == Visibility::Public;
        let names = it.items.iter().filter(is_public).map(|item| item.name);
        let mut found: Vec<_> =
            names.filter_map(|name| Some((name, *it.children.get(name)?))).collect();
        for (import, how) in &it.imports {
            if import.name == "*"
                && *how == Visibility::Public
                && let Some(Target::Module(of)) = self.resolve(module, &import.path)
                && of != module
            {
                found.extend(self.public_children(of));
            }
        }
        found
    }
}

impl<'a> Module<'a> {
    /// A root with the items in a part of a file.
    fn new(source: &'a Source<'a>, range: Range<usize>, folder: String) -> Self {
        let items = source.items_in(range);
        let uses = items.iter().filter(|item| item.kind == "use");
        let imports = uses.flat_map(|item| {
            source.imports(item.header.start).into_iter().map(|it| (it, item.visibility))
        });
        let imports = imports.collect();
        let (path, attributes, children) = (Vec::new(), String::new(), BTreeMap::new());
        Self { path, source, file: 0, items, attributes, imports, parent: 0, children, folder }
    }

    /// The module that a `mod` declares.
    fn child(&self, item: &Item<'a>, by_path: &BTreeMap<&str, &'a Source<'a>>) -> Option<Self> {
        let own = self.source.join(item.attributes.clone());
        let folder = format!("{}/{}", self.folder, item.name);
        let (source, range) = if self.source.text(item.header.end) == "{" {
            (self.source, item.body.clone())
        } else {
            let files = match own.split_once("path=\"").and_then(|it| it.1.split_once('"')) {
                Some((path, _)) => vec![tree::relative(&self.source.file.path, path)],
                None => vec![format!("{folder}.rs"), format!("{folder}/mod.rs")],
            };
            let source = *files.iter().find_map(|path| by_path.get(path.as_str()))?;
            (source, 0..source.tokens.len())
        };
        let path = [self.path.as_slice(), &[item.name]].concat();
        let attributes = self.attributes.clone() + &own;
        Some(Self { path, attributes, ..Self::new(source, range, folder) })
    }

    /// The code outside of imports, modules and tests.
    pub(super) fn code(&self) -> impl Iterator<Item = Range<usize>> {
        let items = self.items.iter().filter(|item| !matches!(item.kind, "use" | "mod"));
        items.map(|item| item.attributes.start..item.body.end)
    }

    pub(super) fn uses(&self, name: &str) -> bool {
        self.code().flatten().any(|at| self.source.text(at) == name)
    }

    pub(super) fn declares(&self, name: &str) -> bool {
        let named = self.imports.iter().any(|(import, _)| import.name == name);
        named || self.items.iter().any(|item| item.name == name)
    }

    /// The items that declare a type.
    pub(super) fn types(&self) -> impl Iterator<Item = &Item<'a>> {
        self.items.iter().filter(|item| TYPES.contains(&item.kind))
    }
}

/// The crate of which a file is the root: its name, and whether it is a library.
fn root_of(path: &str) -> Option<(&str, bool)> {
    if let Some(name) = path.strip_suffix("/src/lib.rs") {
        return Some((name, true));
    }
    if let Some(name) = path.strip_suffix("/src/main.rs") {
        return Some((name, false));
    }
    let name = path.strip_suffix("/main.rs").or_else(|| path.strip_suffix(".rs"))?;
    let (folder, _) = name.rsplit_once('/')?;
    let is_program =
        folder.ends_with("/src/bin") || folder == "examples" || folder.ends_with("/examples");
    is_program.then_some((name, false))
}

fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) const TYPES: &[&str] = &["struct", "enum", "union", "trait", "type"];

const DECLARATIONS: &[&str] =
    &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro_rules"];

/// How many re-exports of re-exports are followed.
const MAX_REEXPORTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    #[test]
    fn every_root_is_a_crate() {
        assert_eq!(root_of("ws-core/src/lib.rs"), Some(("ws-core", true)));
        assert_eq!(root_of("ws-client/cli/src/main.rs"), Some(("ws-client/cli", false)));
        assert_eq!(root_of("a/src/bin/b/main.rs"), Some(("a/src/bin/b", false)));
        assert_eq!(root_of("examples/chat/main.rs"), Some(("examples/chat", false)));
        assert_eq!(root_of("examples/echo.rs"), Some(("examples/echo", false)));
        for other in ["examples/tests/chat.rs", "a/src/b.rs", "examples/chat/rules.rs", "x.rs"] {
            assert_eq!(root_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_path_to_a_file_is_followed() {
        let files = [
            ("a/fuzz/src/lib.rs", "#[path = \"../../src/d.rs\"]\nmod d;"),
            ("a/src/d.rs", "struct D;"),
        ];
        plant(&files, |tree| {
            let it = tree.library("a/fuzz").unwrap();
            assert_eq!(it.modules.get(1).unwrap().types().count(), 1);
        });
    }

    #[test]
    fn a_module_is_public_where_its_names_are_exported() {
        let files = [
            ("a/src/lib.rs", "pub mod b; mod c; mod d;\npub use c::*;\nuse d::*;"),
            ("a/src/b.rs", "pub mod e {} mod f {}"),
            ("a/src/c.rs", "pub mod g {} mod h {}"),
            ("a/src/d.rs", "pub mod i {}"),
        ];
        plant(&files, |tree| {
            let modules = tree.library("a").unwrap().public_modules();
            let paths: Vec<_> = modules.iter().map(|(path, _)| path.join("::")).collect();
            assert_eq!(paths, ["", "b", "g", "b::e"]);
        });
    }
}
