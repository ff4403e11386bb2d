//! Are modules free of import cycles, and does no layer import a layer above it?

use super::graph::Crate;
use super::imports::{self, Edge};
use super::tree::{Complaint, Tree};

/// No import cycle crosses a folder, and none within a folder has more than [`MAX_CYCLE`] modules.
pub(super) fn cycles(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    for krate in &tree.crates {
        let edges = imports::edges(krate);
        for cycle in imports::cycles(edges.iter().map(|edge| (edge.from, edge.to))) {
            let names: Vec<_> = cycle.iter().map(|module| krate.name_of(*module)).collect();
            let (what, most) = match exception(krate, &names) {
                Some(exception) => ("a long import cycle", exception.most),
                None if crosses_a_folder(krate, &cycle) => ("an import cycle crosses a folder", 0),
                None => ("a long import cycle", MAX_CYCLE),
            };
            if cycle.len() > most {
                let what = format!("{what}: {} modules: {}", names.len(), names.join(", "));
                let within = |edge: &&Edge| cycle.contains(&edge.from) && cycle.contains(&edge.to);
                found.extend(of_edges(krate, &what, edges.iter().filter(within)));
            }
        }
    }
    found
}

/// No two folders import each other, directly or through other folders. This is stricter than
/// [`cycles`]: the imports may be of different modules.
///
/// Files at the top of `src` are in no folder. A folder and a folder in it may import each other,
/// because the `mod.rs` of the outer one has the types that both need.
pub(super) fn folder_cycles(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    for krate in &tree.crates {
        let edges = imports::edges(krate);
        let between: Vec<_> = edges
            .iter()
            .map(|edge| ([edge.from, edge.to].map(|module| krate.folder_of(module)), edge))
            .filter(|([from, to], _)| !from.starts_with(to) && !to.starts_with(from))
            .collect();
        for cycle in imports::cycles(between.iter().map(|([from, to], _)| (*from, *to))) {
            let names: Vec<_> = cycle.iter().map(|folder| folder.join("/")).collect();
            if exception(krate, &names).is_none() {
                let what = format!("folders import each other: {}", names.join(", "));
                let within = between
                    .iter()
                    .filter(|(folders, _)| folders.iter().all(|folder| cycle.contains(folder)));
                found.extend(of_edges(krate, &what, within.map(|(_, edge)| *edge)));
            }
        }
    }
    found
}

/// A complaint about the first of these imports, which names all.
fn of_edges<'e>(
    krate: &Crate<'_>,
    what: &str,
    edges: impl Iterator<Item = &'e Edge>,
) -> Option<Complaint> {
    let edges: Vec<_> = edges.collect();
    let import = |edge: &&Edge| {
        let [from, to] = [edge.from, edge.to].map(|module| krate.name_of(module));
        format!("{from}:{} > {to}", edge.line)
    };
    let imports: Vec<_> = edges.iter().map(import).collect();
    at(krate, edges.first()?, format!("{what}; imports: {}", imports.join(", ")))
}

/// No module imports a module that [`LAYERS`] puts above it.
pub(super) fn layers(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    for krate in &tree.crates {
        for edge in &imports::edges(krate) {
            let [from, to] = [edge.from, edge.to].map(|module| krate.name_of(module));
            for (_, layer, above) in LAYERS.iter().filter(|(name, ..)| *name == krate.name) {
                if is_within(&from, layer) && above.iter().any(|above| is_within(&to, above)) {
                    let message = format!("`{layer}` must not import from `{to}`");
                    found.extend(at(krate, edge, message));
                }
            }
        }
    }
    found
}

/// Each exception is named in `ARCHITECTURE.md`: a paragraph with its folders and "import cycle".
pub(super) fn exceptions(tree: &Tree<'_>) -> Vec<Complaint> {
    let text = tree.files.iter().find(|file| file.path == "ARCHITECTURE.md");
    let is_named = |exception: &Exception| {
        text.is_some_and(|file| {
            file.text.split("\n\n").any(|paragraph| {
                paragraph.contains("import cycle")
                    && exception.folders.iter().all(|folder| paragraph.contains(folder))
            })
        })
    };
    EXCEPTIONS
        .iter()
        .filter(|exception| tree.library(exception.krate).is_some() && !is_named(exception))
        .map(|exception| {
            let folders = exception.folders.join(", ");
            let message = format!("name the import cycle of {folders} in `{}`", exception.krate);
            Complaint::new("ARCHITECTURE.md", 1, message)
        })
        .collect()
}

fn at(krate: &Crate<'_>, edge: &Edge, message: String) -> Option<Complaint> {
    let module = krate.modules.get(edge.from)?;
    Some(module.source.file.complaint(edge.line, &message))
}

/// Whether modules of several folders are in the cycle.
///
/// A `mod.rs` counts as part of a folder below it if all other modules of the cycle are in that
/// folder: `conn/mod.rs` declares a type, and `conn/api/write.rs` has methods of it.
fn crosses_a_folder(krate: &Crate<'_>, cycle: &[usize]) -> bool {
    let folders = || cycle.iter().map(|module| krate.folder_of(*module));
    let mut deepest = folders().max_by_key(|folder| folder.len()).into_iter();
    let deepest = deepest.next().unwrap_or_default();
    cycle.iter().any(|module| {
        let folder = krate.folder_of(*module);
        let is_around = krate.modules.get(*module).is_some_and(|it| it.path == folder);
        folder != deepest && !(is_around && deepest.starts_with(folder))
    })
}

/// The exception for a cycle of these modules or folders.
fn exception(krate: &Crate<'_>, names: &[String]) -> Option<&'static Exception> {
    EXCEPTIONS.iter().filter(|exception| exception.krate == krate.name).find(|exception| {
        let is_in = |name: &String| exception.folders.iter().any(|it| is_within(name, it));
        names.iter().all(is_in)
    })
}

/// Whether a module is, or is below, the one of this name; `=conn` is the module `conn` alone.
fn is_within(name: &str, folder: &str) -> bool {
    match folder.strip_prefix('=') {
        Some(exact) => name == exact,
        None => {
            name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// An import cycle across folders that is allowed.
struct Exception {
    krate: &'static str,
    /// All modules of the cycle are in these.
    folders: &'static [&'static str],
    /// The number of modules that it may have.
    most: usize,
}

/// A handler gets a socket, a socket belongs to a hub, and a hub holds handlers.
const EXCEPTIONS: &[Exception] =
    &[Exception { krate: "ws-events", folders: &["hub", "session", "events"], most: 8 }];

const MAX_CYCLE: usize = 4;

/// A crate, one of its modules, and the modules that this one and its children must not import.
const LAYERS: &[(&str, &str, &[&str])] = &[
    ("ws-core", "frame", &["proto", "handshake", "conn", "handler"]),
    ("ws-core", "utf8", &["frame", "proto", "handshake", "conn", "handler"]),
    ("ws-core", "deflate", &["frame", "proto", "handshake", "conn", "handler"]),
    ("ws-core", "proto", &["handshake", "conn", "handler"]),
    ("ws-core", "handshake", &["proto", "conn", "handler"]),
    ("ws-core", "conn", &["handler", "compat"]),
    ("ws-core", "handler", &["compat"]),
    ("ws-core", "conn/runtime", &["=conn", "conn/driver", "conn/info", "conn/api"]),
    ("ws-core", "conn/driver", &["=conn", "conn/api"]),
    ("ws-core", "conn/info", &["conn/api"]),
    ("ws-events", "delivery", &["hub", "session", "events"]),
    ("ws-events", "registry", &["hub", "session", "events"]),
    ("ws-events", "history", &["hub", "session", "events", "delivery", "registry"]),
    ("ws-events", "presence", &["hub", "session", "events"]),
    ("ws-events", "recovery", &["hub", "session", "events", "delivery", "registry"]),
    ("ws-events", "engine", &["hub", "session", "events", "delivery", "registry"]),
    ("ws-events", "socketio", &["hub", "session", "events", "delivery", "registry", "engine"]),
    ("ws-client", "native", &["browser", "reconnect"]),
    ("ws-client", "native/transport", &["native/http2"]),
    ("ws-client", "browser", &["native", "reconnect"]),
];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// The files of a crate → a part of each complaint.
    #[track_caller]
    fn check(
        check: fn(&Tree<'_>) -> Vec<Complaint>,
        krate: &str,
        files: &[(&str, &str)],
        expected: &[&str],
    ) {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("{krate}/src/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let found = plant(&files, check);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, word) in found.iter().zip(expected) {
            assert!(complaint.message.contains(word), "{complaint}");
        }
    }

    const FOLDERS: [(&str, &str); 3] = [
        ("lib.rs", "mod a; mod c;"),
        ("a/mod.rs", "pub mod b;\npub use b::B;\npub struct A;"),
        ("c/mod.rs", "pub mod d; pub mod e;\npub use d::D;\npub struct C;"),
    ];

    fn with<'a>(b: &'a str, d: &'a str, e: &'a str) -> Vec<(&'a str, &'a str)> {
        [&FOLDERS[..], &[("a/b.rs", b), ("c/d.rs", d), ("c/e.rs", e)]].concat()
    }

    #[test]
    fn no_import_cycle_crosses_a_folder() {
        let good = with("use crate::c::D;", "use super::e::E;", "use super::D;");
        check(cycles, "x", &good, &[]);
        let bad = with("use crate::c::D;", "use super::e::E;", "fn e(b: crate::a::B) {}");
        check(cycles, "x", &bad, &["crosses a folder: 3 modules: a/b, c/d, c/e"]);
    }

    #[test]
    fn a_mod_file_counts_as_a_part_of_the_folder_below() {
        let mut files = with("", "use super::C;", "");
        files[2].1 = "pub mod d; pub mod e;\nuse d::D;\npub struct C;";
        check(cycles, "x", &files, &[]);
        files[3].1 = "use crate::c::D;\npub struct B;";
        files[4].1 = "use super::C;\nuse crate::a::B;\npub struct D;";
        check(cycles, "x", &files, &["crosses a folder: 3 modules"]);
    }

    #[test]
    fn a_cycle_in_a_folder_has_at_most_four_modules() {
        let ring = |size: usize| {
            let mods = (0..size).map(|at| format!("mod m{at};")).collect::<String>();
            let module =
                |at: usize| (format!("m{at}.rs"), format!("use super::m{}::T;", (at + 1) % size));
            [vec![("lib.rs".to_owned(), mods)], (0..size).map(module).collect()].concat()
        };
        for (size, expected) in [(4, &[][..]), (5, &["a long import cycle: 5 modules"])] {
            let files = ring(size);
            let files: Vec<_> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            check(cycles, "x", &files, expected);
        }
    }

    const DOMAIN: [(&str, &str); 5] = [
        ("lib.rs", "mod hub; mod events;"),
        ("hub/mod.rs", "pub mod socket;"),
        ("hub/socket.rs", "use crate::events::dispatch::D;"),
        ("events/mod.rs", "pub mod dispatch;"),
        ("events/dispatch.rs", "use crate::hub::socket::S;"),
    ];

    #[test]
    fn an_exception_is_of_one_crate_and_its_folders() {
        check(cycles, "ws-events", &DOMAIN, &[]);
        check(folder_cycles, "ws-events", &DOMAIN, &[]);
        check(cycles, "ws-client", &DOMAIN, &["crosses a folder"]);
        check(folder_cycles, "ws-client", &DOMAIN, &["each other: "]);
    }

    #[test]
    fn an_exception_is_named_in_the_architecture() {
        let of = |text| {
            plant(&[("ws-events/src/lib.rs", ""), ("ARCHITECTURE.md", text)], |tree| {
                exceptions(tree).len()
            })
        };
        assert_eq!(of("An import cycle.\n\nhub, session, events"), 1);
        assert_eq!(of("# A\n\nThere is an import cycle\nin `hub`, `session` and `events`."), 0);
    }

    #[test]
    fn folders_do_not_import_each_other() {
        let good = with("use crate::c::D;", "use crate::X;", "use super::C;");
        check(folder_cycles, "x", &good, &[]);
        let bad = with("use crate::c::D;", "", "fn e() { crate::a::A::new() }");
        check(cycles, "x", &bad, &[]);
        check(folder_cycles, "x", &bad, &["each other: a, c; imports: a/b:1 > c/d, c/e:1 > a"]);
    }

    #[test]
    fn files_at_the_top_are_in_no_folder() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::c::d::D;"),
            ("b.rs", ""),
            ("c/mod.rs", "mod d; use crate::a::A;"),
            ("c/d.rs", ""),
        ];
        check(folder_cycles, "x", &files, &[]);
    }

    #[test]
    fn a_layer_imports_none_above_it() {
        let tree = |path, text| {
            [
                ("lib.rs", "mod conn; mod handler; mod proto;\npub use conn::Conn;"),
                ("conn/mod.rs", "mod api; mod driver;\npub struct Conn;"),
                ("conn/api.rs", ""),
                ("conn/driver.rs", ""),
                ("handler.rs", "use crate::Conn;"),
                ("proto.rs", ""),
            ]
            .map(|file| if file.0 == path { (path, text) } else { file })
        };
        check(layers, "ws-core", &tree("conn/api.rs", "use super::{Conn, driver::X};"), &[]);
        check(layers, "ws-core", &tree("proto.rs", "fn a(conn: u8, handler: u8) {}"), &[]);
        for (path, text) in [
            ("proto.rs", "use crate::Conn;"),
            ("proto.rs", "fn a(b: crate::conn::Conn) {}"),
            ("conn/driver.rs", "use super::Conn;"),
            ("conn/driver.rs", "use crate::{\n    conn::{api::X},\n};"),
            ("conn/api.rs", "use crate::handler::run;"),
        ] {
            check(layers, "ws-core", &tree(path, text), &["must not import"]);
        }
    }
}
