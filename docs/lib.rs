//! Does the code in the book compile?
//!
//! Each chapter is the documentation of a module, so its Rust code is a documentation test.
//! `cargo xtask tidy` checks that no chapter is missing.

/// Compiles the code of a chapter.
macro_rules! chapters {
    ($($name:ident $path:literal)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            mod $name {}
        )*
    };
}

chapters! {
    introduction "src/introduction.md"
    start "src/start.md"
    servers "src/servers.md"
    clients "src/clients.md"
    hub "src/hub.md"
    security "src/security.md"
    testing "src/testing.md"
    performance "src/performance.md"
    recipes "src/recipes.md"
}
