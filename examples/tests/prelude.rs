//! Do all adapters and the client re-export the same names?

use std::collections::BTreeSet;

const PRELUDE: &str = include_str!("../../ws-core/src/prelude.rs");

/// Each crate with the source of its root.
const ROOTS: [(&str, &str); 4] = [
    (
        "ws-client",
        concat!(
            include_str!("../../ws-client/src/lib.rs"),
            include_str!("../../ws-client/src/native/mod.rs")
        ),
    ),
    ("ws-server-axum", include_str!("../../ws-server-axum/src/lib.rs")),
    ("ws-server-hyper", include_str!("../../ws-server-hyper/src/lib.rs")),
    ("ws-server-warp", include_str!("../../ws-server-warp/src/lib.rs")),
];

/// The names that a source re-exports, without those of globs, and those for browsers only.
fn names(source: &str) -> BTreeSet<&str> {
    source
        .split_inclusive(';')
        .filter_map(|item| item.split_once("pub use "))
        .filter(|(attributes, _)| {
            !attributes.replace("not(target_arch", "").contains("target_arch")
        })
        .flat_map(|(_, path)| path.split(['{', '}', ',', ' ', '\n', ':', ';']))
        .filter(|name| name.starts_with(char::is_uppercase) || name.starts_with("pair"))
        .collect()
}

#[test]
fn every_crate_re_exports_the_prelude_and_replaces_none_of_its_names() {
    let prelude = names(PRELUDE);
    assert!(prelude.len() > 45 && prelude.contains("Conn") && prelude.contains("pair_with"));
    for (name, root) in ROOTS {
        assert!(root.contains("::prelude::{self, *};"), "{name}");
        let own = names(root);
        let replaced: Vec<_> = own.intersection(&prelude).collect();
        assert!(replaced.is_empty(), "{name}: {replaced:?}");
    }
}

/// The names of a root are the types of `ws_core`.
macro_rules! check {
    ($($krate:ident),+) => {
        $(
            let _: fn($krate::Conn) -> ws_core::Conn = |it| it;
            let _: fn($krate::AcceptOptions) -> ws_core::AcceptOptions = |it| it;
            let _: fn($krate::CodecError) -> ws_core::codec::CodecError = |it| it;
            let _: fn($krate::DrainConfig) -> ws_core::handler::DrainConfig = |it| it;
            let _: fn($krate::Negotiated) -> ws_core::handshake::Negotiated = |it| it;
            let _: fn($krate::Frame) -> ws_core::frame::Frame = |it| it;
            let _: fn($krate::prelude::Message) -> ws_core::Message = |it| it;
        )+
    };
}

#[test]
fn the_names_are_the_types_of_ws_core() {
    check!(ws_client, ws_server_axum, ws_server_hyper, ws_server_warp);
}
