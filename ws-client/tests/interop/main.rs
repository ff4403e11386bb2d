//! Do this client and this server work with other implementations?
//!
//! Each test runs against one peer over a real socket. If the peer is not installed, the test is
//! skipped, and the last line counts the skipped tests. With `WS_REQUIRE_PEERS=1` they fail.
//! `CONTRIBUTING.md` says what to install.

#![expect(clippy::indexing_slicing, reason = "what JSON lacks is null")]

mod client;
mod http2;
mod peers;
mod programs;
mod proxies;
mod reverse_proxies;
mod rows;
mod runner;
mod server;
#[path = "../support/mod.rs"]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;
mod tls;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use ws_client::Compression;

use client::{Client, Way};
use peers::Peer;
use rows::{CODES, CODES_OF_A_PAGE, Rows, SIZES, Terms, UP_TO_16_MIB};
use runner::Test;
use server::{Adapter, Known, Seen, Server};
use tls::Over;

fn main() -> Result<ExitCode> {
    let mut tests = Vec::new();
    // These run first, since one of them is the slowest.
    for (name, compression, negotiated, sizes) in [
        ("off", Compression::off(), "", SIZES),
        ("no_takeover", Compression::no_context_takeover(), NO_TAKEOVER, UP_TO_16_MIB),
        ("takeover", Compression::context_takeover(), TAKEOVER, SIZES),
    ] {
        let name = format!("chromium::{name}");
        tests.push(Test::new(name, move || {
            serve_page(Over::Tcp, Adapter::Hyper, compression, negotiated, sizes)
        }));
    }
    for (over, adapter, name) in [
        (Over::Tcp, Adapter::Axum, "axum"),
        (Over::Tcp, Adapter::Warp, "warp"),
        (Over::Tls, Adapter::Axum, "tls::axum"),
        (Over::Tls, Adapter::Warp, "tls::warp"),
        (Over::Http2, Adapter::Hyper, "http2::hyper"),
        (Over::Http2, Adapter::Axum, "http2::axum"),
        (Over::Http2, Adapter::Warp, "http2::warp"),
    ] {
        let name = format!("chromium::{name}");
        tests.push(Test::new(name, move || {
            serve_page(over, adapter, Compression::no_context_takeover(), NO_TAKEOVER, SIZES)
        }));
    }
    tests.push(Test::new("chromium::pages_of_other_origins_are_refused", refuse_page));
    for (peer, name) in [(Peer::Python, "python"), (Peer::Node, "node")] {
        for (adapter, by) in ADAPTERS {
            // Compression is the same in all adapters.
            let all = matches!(adapter, Adapter::Hyper | Adapter::Tcp);
            let terms = terms_of_a_client().into_iter();
            for terms in terms.filter(|terms| all || terms.name == "no_takeover") {
                let name = format!("{name}_client::{by}::{}", terms.name);
                let rows = rows(&terms, matches!(adapter, Adapter::Hyper));
                tests.push(Test::new(name, move || {
                    serve(peer, adapter, terms.clone(), rows.clone())
                }));
            }
        }
        for (way, by) in [(Way::Http, "http"), (Way::Stream, "stream")] {
            for terms in terms_of_a_server() {
                let name = format!("{name}_server::{by}::{}", terms.name);
                let rows = rows(&terms, matches!(way, Way::Http));
                tests.push(Test::new(name, move || dial(peer, way, terms.clone(), rows.clone())));
            }
        }
        tests.push(Test::new(format!("{name}_client::windows"), move || serve_windows(peer)));
        tests.push(Test::new(format!("{name}_server::windows"), move || dial_windows(peer)));
    }
    for (over, adapter, name) in [
        // With prior knowledge.
        (Over::Tcp, Adapter::Axum, "axum"),
        (Over::Tcp, Adapter::Warp, "warp"),
        (Over::Http2, Adapter::Hyper, "tls::hyper"),
        (Over::Http2, Adapter::Axum, "tls::axum"),
        (Over::Http2, Adapter::Warp, "tls::warp"),
    ] {
        tests.push(Test::new(format!("node_http2::{name}"), move || serve_http2(over, adapter)));
    }
    tests.extend(proxies::tests());
    tests.extend(reverse_proxies::tests());
    tests.extend(http2::tests());
    runner::run(tests)
}

const ADAPTERS: [(Adapter, &str); 4] = [
    (Adapter::Hyper, "hyper"),
    (Adapter::Axum, "axum"),
    (Adapter::Warp, "warp"),
    (Adapter::Tcp, "tcp"),
];

const TAKEOVER: &str = "permessage-deflate";
const NO_TAKEOVER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The compression that a client may offer.
fn terms_of_a_client() -> [Terms; 5] {
    let off = Compression::off();
    let no_takeover = Compression::no_context_takeover();
    let takeover = Compression::context_takeover();
    let asked = json!({ "server_no_context_takeover": true, "client_no_context_takeover": true });
    [
        Terms::new("declined", off, json!(true), None),
        Terms::new("not_offered", takeover, Value::Null, None),
        Terms::new("no_takeover", no_takeover, json!(true), Some(NO_TAKEOVER)),
        Terms::new("takeover", takeover, json!(true), Some(TAKEOVER)),
        Terms::new("no_takeover_asked", takeover, asked, Some(NO_TAKEOVER)),
    ]
}

/// The compression that this client may offer.
fn terms_of_a_server() -> [Terms; 5] {
    let off = Compression::off();
    let no_takeover = Compression::no_context_takeover();
    let takeover = Compression::context_takeover();
    let asked = json!({ "server_no_context_takeover": true, "client_no_context_takeover": true });
    [
        Terms::new("not_offered", off, json!({}), None),
        Terms::new("declined", takeover, Value::Null, None),
        Terms::new("no_takeover", no_takeover, json!({}), Some(NO_TAKEOVER)),
        Terms::new("takeover", takeover, json!({}), Some(TAKEOVER)),
        Terms::new("no_takeover_asked", takeover, asked, Some(NO_TAKEOVER)),
    ]
}

/// The longest messages are slow, so each peer gets them compressed over one transport, and
/// uncompressed over the other.
fn rows(terms: &Terms, compressed: bool) -> Rows {
    let is_longest = match &*terms.name {
        "takeover" => compressed,
        "declined" => !compressed,
        _ => false,
    };
    Rows::new(if is_longest { UP_TO_16_MIB } else { SIZES }, CODES)
}

/// The client of a peer with this server.
async fn serve(peer: Peer, adapter: Adapter, terms: Terms, rows: Rows) -> Result<()> {
    let mut server = Server::start(adapter, terms.ours).await?;
    let report = peer.run_client(&rows.to_json(&server.address, &terms.theirs)).await?;
    terms.check(report["extensions"].as_str())?;
    server.check(&rows, terms.negotiated.is_some()).await.map(drop)
}

/// The server of a peer with this client.
async fn dial(peer: Peer, way: Way, terms: Terms, rows: Rows) -> Result<()> {
    let server = peer.start_server(&terms.theirs).await?;
    let client = Client { way, compression: terms.ours, server };
    let negotiated = client.run(&rows).await?;
    terms.check(negotiated.as_deref())
}

/// Each window size requested by the client of a peer, and some by this server.
async fn serve_windows(peer: Peer) -> Result<()> {
    // Python's zlib cannot compress with 8.
    let least = if peer == Peer::Python { 9 } else { 8 };
    let theirs = (8..=15).map(|bits| (bits, (23 - bits).max(least))).map(|(server, client)| {
        let asked = json!({ "server_max_window_bits": server, "client_max_window_bits": client });
        (Compression::context_takeover(), asked, server, client)
    });
    let ours = [(8, least), (12, 10)].map(|(server, client)| {
        let limits = Compression::context_takeover().window_bits(server).peer_window_bits(client);
        (limits, json!(true), server, client)
    });
    for (ours, theirs, server, client) in theirs.chain(ours) {
        let terms = windows(ours, theirs, server, client);
        let name = terms.name.clone();
        serve(peer, Adapter::Hyper, terms, Rows::for_windows()).await.context(name)?;
    }
    Ok(())
}

/// Each window size requested by the server of a peer, and some by this client.
async fn dial_windows(peer: Peer) -> Result<()> {
    let least = if peer == Peer::Python { 9 } else { 8 };
    let theirs = (8..=15).map(|bits| ((23 - bits).max(least), bits)).map(|(server, client)| {
        let asked = json!({ "server_max_window_bits": server, "client_max_window_bits": client });
        (Compression::context_takeover(), asked, server, client)
    });
    let ours = [(least, 8), (10, 12)].map(|(server, client)| {
        let limits = Compression::context_takeover().window_bits(client).peer_window_bits(server);
        (limits, json!({}), server, client)
    });
    for (ours, theirs, server, client) in theirs.chain(ours) {
        let terms = windows(ours, theirs, server, client);
        let name = terms.name.clone();
        dial(peer, Way::Http, terms, Rows::for_windows()).await.context(name)?;
    }
    Ok(())
}

fn windows(ours: Compression, theirs: Value, server: u8, client: u8) -> Terms {
    let negotiated = format!(
        "permessage-deflate; server_max_window_bits={server}; client_max_window_bits={client}"
    );
    Terms::new(format!("windows of {server} and {client} bits"), ours, theirs, Some(&negotiated))
}

/// Several WebSockets over one HTTP/2 connection, by a client that writes the requests itself.
async fn serve_http2(over: Over, adapter: Adapter) -> Result<()> {
    let mut server = Server::start_over(over, adapter, Compression::off()).await?;
    let mut asked = Rows::new(SIZES, CODES).to_json(&server.address, &Value::Null);
    asked["url"] = json!(over.url("http", &server.address));
    let report = Peer::run_http2(&asked).await?;
    ensure!(report["sockets"] == 3, "{report}");
    let mut known = Vec::new();
    for _ in 0..3 {
        known.push(server.check_end(1000).await?);
    }
    check_http2(&known)
}

/// Were all of them streams of one HTTP/2 connection?
fn check_http2(known: &[Known]) -> Result<()> {
    for one in known {
        ensure!(one.protocol.as_deref() == Some("websocket"), "no extended CONNECT: {one:?}");
        ensure!(one.peer == known[0].peer, "another connection: {one:?}, {:?}", known[0]);
    }
    Ok(())
}

/// A page in a browser with this server, which also serves the page.
async fn serve_page(
    over: Over,
    adapter: Adapter,
    compression: Compression,
    negotiated: &str,
    sizes: &'static [usize],
) -> Result<()> {
    let rows = Rows { fragments: SIZES, ..Rows::new(sizes, CODES_OF_A_PAGE) };
    let mut server = Server::start_over(over, adapter, compression).await?;
    let mut asked = rows.to_json(&server.address, &Value::Null);
    asked["url"] = json!(over.url("ws", &server.address));
    asked["page"] = json!(over.url("http", &server.address) + "/");
    let report = Peer::Chromium.run_client(&asked).await?;
    ensure!(report["extensions"] == negotiated, "negotiated on {}", report["extensions"]);
    let known = server.check(&rows, !negotiated.is_empty()).await?;
    for one in &known {
        ensure!(one.cookie.as_deref() == Some("ours"), "without the page's cookie: {one:?}");
    }
    if over == Over::Http2 {
        return check_http2(&known);
    }
    let http1 = known.iter().all(|one| one.protocol.is_none());
    ensure!(http1, "an extended CONNECT that was not offered");
    Ok(())
}

/// A page of one server that connects to others.
async fn refuse_page() -> Result<()> {
    let page = Server::start(Adapter::Hyper, Compression::off()).await?;
    let mut servers = Vec::new();
    for (adapter, _) in ADAPTERS {
        servers.push(Server::start(adapter, Compression::off()).await?);
    }
    let refused: Vec<_> =
        servers.iter().map(|server| format!("ws://{}/echo", server.address)).collect();
    let asked = json!({ "page": format!("http://{}/", page.address), "refused": refused });
    let report = Peer::Chromium.run_client(&asked).await?;
    ensure!(report["codes"] == json!([1006, 1006, 1006, 1006]), "the page saw {report}");
    for (mut server, (_, by)) in servers.into_iter().zip(ADAPTERS) {
        let seen = server.seen().await?;
        let Seen::Refused(status) = seen else { bail!("{by}: {seen:?}, which is no refusal") };
        ensure!(status == 403, "{by} refused with {status}");
    }
    Ok(())
}
