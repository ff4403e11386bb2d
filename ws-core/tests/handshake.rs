//! Which opening handshakes are accepted, and with which response?

use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Request, Response, Version};
use proptest::prelude::*;
use ws_core::deflate::Params;
use ws_core::handshake::{AcceptOptions, Accepted, HandshakeError, Offer, Rejection, is_upgrade};
use ws_core::handshake::{Negotiated, SubprotocolOrder};
use ws_core::{Acceptor, Compression, Config, Origin};

/// The request of RFC 6455 §1.3 without its subprotocols.
const GOOD: &[(&str, &str)] = &[
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("origin", "http://server.example.com"),
    ("sec-websocket-version", "13"),
];

type Header = (&'static str, &'static str);

/// The valid request without and with these headers.
fn request(without: &[&str], with: &[Header]) -> Request<()> {
    let kept = GOOD.iter().filter(|(name, _)| !without.contains(name));
    let mut request = Request::get("/chat");
    for (name, value) in kept.chain(with) {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Checks that the request is rejected for this reason, with this status and these headers.
fn check_refusal(
    options: &AcceptOptions,
    request: &Request<()>,
    reason: Rejection,
    status: u16,
    hints: &[Header],
) {
    assert_eq!(Acceptor::new(options).answer(request).unwrap_err(), reason, "{request:?}");
    let text = reason.to_string();
    let response = reason.into_response();
    assert_eq!((response.status().as_u16(), response.body()), (status, &text));
    let expected = [hints, &[("content-type", "text/plain; charset=utf-8")]].concat();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    assert_eq!(headers.collect::<Vec<_>>(), expected);
}

const UPGRADE: &[Header] =
    &[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")];
const VERSION: &[Header] = &[("sec-websocket-version", "13")];

#[test]
fn a_malformed_handshake_is_refused_with_its_status() {
    use Rejection as R;
    let options = AcceptOptions::new().subprotocols(["chat"]).require_subprotocol();
    let check = |without: &[&str], with: &[Header], reason, status, hints: &[Header]| {
        check_refusal(&options, &request(without, with), reason, status, hints);
    };
    check(&["upgrade"], &[], R::NotUpgrade, 426, UPGRADE);
    check(&["upgrade"], &[("upgrade", "h2c")], R::NotUpgrade, 426, UPGRADE);
    check(&["connection"], &[], R::NotUpgrade, 426, UPGRADE);
    check(&["connection"], &[("connection", "keep-alive")], R::NotUpgrade, 426, UPGRADE);

    let name = "sec-websocket-version";
    check(&[name], &[], R::VersionMissing, 400, VERSION);
    check(&[name], &[(name, "8")], R::VersionUnsupported, 426, UPGRADE);
    check(&[name], &[(name, "013")], R::VersionUnsupported, 426, UPGRADE);
    check(&[name], &[(name, "")], R::VersionUnsupported, 426, UPGRADE);
    check(&[], &[(name, "13")], R::VersionRepeated, 400, VERSION);

    let name = "sec-websocket-key";
    check(&[name], &[], R::KeyMissing, 400, &[]);
    check(&[], &[(name, "dGhlIHNhbXBsZSBub25jZQ==")], R::KeyRepeated, 400, &[]);
    check(&[name], &[(name, "")], R::KeyInvalid, 400, &[]);
    check(&[name], &[(name, "c2hvcnQ=")], R::KeyInvalid, 400, &[]);

    check(&["host"], &[], R::HostMissing, 400, &[]);
    check(&[], &[("host", "server.example.com")], R::HostRepeated, 400, &[]);
    for host in ["", "a b", "user@a", "a:x", "a:+80", "a:99999", "[a]", "a/b", "::1"] {
        check(&["host"], &[("host", host)], R::HostInvalid, 400, &[]);
    }
    check(&[], &[("content-length", "5")], R::Body, 400, &[]);
    check(&[], &[("content-length", "x")], R::Body, 400, &[]);
    check(&[], &[("content-length", "0"), ("content-length", "1")], R::Body, 400, &[]);
    check(&[], &[("transfer-encoding", "chunked")], R::Body, 400, &[]);

    for origin in ["http://evil.example", "null"] {
        let request = request(&["origin"], &[("origin", origin)]);
        let refused = Acceptor::new(&options).answer(&request).unwrap_err();
        assert!(matches!(refused, R::OriginRefused { .. }));
        for part in [origin, "server.example.com", "`Origin::patterns`"] {
            assert!(refused.to_string().contains(part), "{refused}");
        }
        check_refusal(&options, &request, refused, 403, &[]);
    }
    check(&[], &[("origin", "http://server.example.com")], R::OriginRepeated, 403, &[]);

    let name = "sec-websocket-protocol";
    check(&[], &[], R::SubprotocolRequired, 400, &[]);
    check(&[], &[(name, "superchat")], R::SubprotocolRequired, 400, &[]);
    check(&[], &[(name, "chat, chat")], R::SubprotocolsMalformed, 400, &[]);
    check(&[], &[(name, "chat room")], R::SubprotocolsMalformed, 400, &[]);
}

#[test]
fn method_and_version_are_those_of_an_upgrade() {
    use Rejection as R;
    let check = |method: &str, version, reason, status, hints: &[Header]| {
        let mut request = request(&[], &[]);
        *request.method_mut() = method.parse().unwrap();
        *request.version_mut() = version;
        check_refusal(&AcceptOptions::new(), &request, reason, status, hints);
    };
    check("POST", Version::HTTP_11, R::Method, 405, &[("allow", "GET")]);
    check("CONNECT", Version::HTTP_11, R::Method, 405, &[("allow", "GET")]);
    check("get", Version::HTTP_11, R::Method, 405, &[("allow", "GET")]);
    check("GET", Version::HTTP_10, R::HttpTooOld, 426, UPGRADE);
    check("GET", Version::HTTP_09, R::HttpTooOld, 426, UPGRADE);
    check("GET", Version::HTTP_3, R::HttpTooNew, 501, &[]);
}

#[test]
fn a_target_has_a_path() {
    let answer = |target: &str| {
        let mut request = request(&["origin"], &[]);
        *request.uri_mut() = target.parse().unwrap();
        Acceptor::new(&AcceptOptions::new()).answer(&request).map(drop)
    };
    for target in ["/", "/chat?a", "http://a", "http://a?b", "wss://a:1/b"] {
        assert_eq!(answer(target), Ok(()), "{target}");
    }
    for target in ["*", "a", "a:80"] {
        assert_eq!(answer(target), Err(Rejection::TargetInvalid), "{target}");
    }
    assert_eq!(answer("http://user@a/b"), Err(Rejection::HostInvalid));
    assert_eq!(Rejection::TargetInvalid.status(), 400);
}

#[test]
fn the_head_is_bounded_in_bytes_and_headers() {
    let check = |options: AcceptOptions, target: &str, with: &[Header], fits: bool| {
        let mut request = request(&[], with);
        *request.uri_mut() = target.parse().unwrap();
        let answered = Acceptor::new(&options).answer(&request).map(drop);
        assert_eq!(answered, if fits { Ok(()) } else { Err(Rejection::HeadTooLarge) }, "{target}");
    };
    // The valid request has six headers.
    let len = ws_core::handshake::head::encode_request(&request(&[], &[])).len();
    let default = AcceptOptions::new;
    check(default().head_limit(len, 6), "/chat", &[], true);
    check(default().head_limit(len - 1, 6), "/chat", &[], false);
    check(default().head_limit(len, 5), "/chat", &[], false);
    check(default().head_limit(len, 6), "/chat?", &[], false);
    check(default().head_limit(len, 7), "/chat", &[("a", "")], false);
    check(default().head_limit(len + 5, 7), "/chat", &[("a", "")], true);
    check(default(), "/chat", &[("a", "b"); 94], true);
    check(default(), "/chat", &[("a", "b"); 95], false);
    check(default(), &format!("/{}", "a".repeat(16 * 1024)), &[], false);
    // Another route may serve it, or the filter may pass it on.
    check_refusal(
        &default().head_limit(0, 0),
        &request(&["upgrade"], &[]),
        Rejection::NotUpgrade,
        426,
        UPGRADE,
    );
}

#[test]
fn upgrades_are_told_from_other_requests() {
    assert!(is_upgrade(&request(&[], &[])));
    assert!(is_upgrade(&request(&["host", "origin", "sec-websocket-key"], &[])));
    assert!(!is_upgrade(&request(&["upgrade"], &[])));
    assert!(!is_upgrade(&request(&["connection"], &[])));
}

#[test]
fn adapters_have_rejections_of_their_own() {
    let check = |rejection: Rejection, status: u16| assert_eq!(rejection.status(), status);
    check(Rejection::NotUpgradable, 501);
    check(Rejection::ShuttingDown, 503);
    check(Rejection::Timeout, 408);
    check(Rejection::Internal, 500);
    check(Rejection::HeadMalformed, 400);
    check(Rejection::HeadTooLarge, 431);
}

#[test]
fn a_good_handshake_is_accepted() {
    let options = AcceptOptions::new()
        .subprotocols(["v2", "v1"])
        .compression(Compression::no_context_takeover())
        .response_header(HeaderName::from_static("set-cookie"), HeaderValue::from_static("a=1"))
        .response_header(HeaderName::from_static("set-cookie"), HeaderValue::from_static("b=2"))
        .response_header(HeaderName::from_static("upgrade"), HeaderValue::from_static("h2c"))
        .response_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other"))
        .response_header(HeaderName::from_static("content-length"), HeaderValue::from_static("3"));
    let check =
        |without: &[&str], with: &[Header], protocol: Option<&str>, extension: Option<&str>| {
            let Accepted { response, negotiated, .. } =
                Acceptor::new(&options).answer(&request(without, with)).unwrap();
            let headers = response.headers();
            let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap());
            assert_eq!(response.status(), 101);
            assert!(all("upgrade").eq(["websocket"]));
            assert!(all("connection").eq(["Upgrade"]));
            assert!(all("sec-websocket-accept").eq(["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]));
            assert!(all("sec-websocket-protocol").eq(protocol));
            assert!(all("sec-websocket-extensions").eq(extension));
            assert!(all("set-cookie").eq(["a=1", "b=2"]));
            assert!(!headers.contains_key("content-length"));
            assert_eq!(negotiated.subprotocol.as_deref(), protocol);
            assert_eq!(negotiated.compression.is_some(), extension.is_some());
        };
    let deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    check(&[], &[], None, None);
    check(&["origin"], &[], None, None);
    check(&["upgrade"], &[("upgrade", "h2c, WebSocket")], None, None);
    check(&["connection"], &[("connection", "keep-alive, UPGRADE")], None, None);
    check(&["connection"], &[("connection", "te"), ("connection", "upgrade")], None, None);
    check(&[], &[("content-length", "0")], None, None);
    check(&[], &[("sec-websocket-protocol", "v1, v2")], Some("v2"), None);
    check(
        &[],
        &[("sec-websocket-protocol", "v0"), ("sec-websocket-protocol", "v1")],
        Some("v1"),
        None,
    );
    check(&[], &[("sec-websocket-protocol", "V1")], None, None);
    check(&[], &[("sec-websocket-protocol", "")], None, None);
    check(&[], &[("sec-websocket-extensions", "permessage-deflate")], None, Some(deflate));
    check(&[], &[("sec-websocket-extensions", "a b")], None, None);
    check(&[], &[("sec-websocket-extensions", ";;=\",")], None, None);
}

#[test]
fn the_order_of_settings_does_not_matter() {
    type Setting = fn(AcceptOptions) -> AcceptOptions;
    let settings: [Setting; 4] = [
        |options| options.config(Config::new().compression(Compression::context_takeover())),
        |options| options.compression(Compression::no_context_takeover()),
        |options| options.subprotocols(["a"]),
        |options| options.subprotocol_selector(|offered| offered.last().map(ToString::to_string)),
    ];
    let offering = request(
        &["origin"],
        &[("sec-websocket-protocol", "a, b"), ("sec-websocket-extensions", "permessage-deflate")],
    );
    let mut orders = vec![vec![]];
    for at in 0..settings.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=at).map(move |to| {
                    let mut order = order.clone();
                    order.insert(to, at);
                    order
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    for order in orders {
        let options = order.iter().fold(AcceptOptions::new(), |options, &at| settings[at](options));
        let negotiated = Acceptor::new(&options).answer(&offering).unwrap().negotiated;
        assert_eq!(negotiated.subprotocol.as_deref(), Some("b"), "{order:?}");
        assert!(negotiated.compression.unwrap().server_no_context_takeover, "{order:?}");
    }
}

#[test]
fn options_select_the_subprotocol_and_the_requests() {
    let offering = request(&["origin"], &[("sec-websocket-protocol", "a, b")]);
    let choose = |options: AcceptOptions| {
        Acceptor::new(&options).answer(&offering).unwrap().negotiated.subprotocol
    };
    let both = AcceptOptions::new().subprotocols(["b", "a"]);
    assert_eq!(choose(both.clone()).as_deref(), Some("b"));
    assert_eq!(
        choose(both.clone().subprotocol_order(SubprotocolOrder::Client)).as_deref(),
        Some("a")
    );
    let last = |offered: &[&str]| offered.last().map(|name| (*name).to_owned());
    assert_eq!(choose(AcceptOptions::new().subprotocol_selector(last)).as_deref(), Some("b"));
    // A selector takes precedence over a list, whichever is set first.
    let selecting = AcceptOptions::new().subprotocols(["a"]).subprotocol_selector(last);
    assert_eq!(choose(selecting.clone()).as_deref(), Some("b"));
    assert_eq!(choose(selecting.clone().subprotocols(["a"])).as_deref(), Some("b"));
    assert_eq!(choose(selecting.no_subprotocol_selector()).as_deref(), Some("a"));

    let picky = AcceptOptions::new().filter(|_| false);
    assert_eq!(Acceptor::new(&picky).answer(&offering).unwrap_err(), Rejection::Filtered);
    assert!(Acceptor::new(&picky.clone().no_filter()).answer(&offering).is_ok());

    let origin = Origin::check(|_, _| true);
    let shown = format!("{:?}", picky.subprotocol_selector(last).origin(origin));
    for function in ["Filter(..)", "Selector(..)", "Check(..)"] {
        assert!(shown.contains(function), "{shown}");
    }

    let strict = Acceptor::new(&both.origin(Origin::any().refuse_missing()));
    assert_eq!(strict.answer(&offering).unwrap_err(), Rejection::OriginMissing);
    assert!(strict.answer(&request(&["origin"], &[("origin", "null")])).is_ok());
}

/// The answer of a server with these settings to these offers, one per line.
fn answer(ours: Compression, lines: &[&'static str]) -> (Option<String>, Option<Params>) {
    let headers: Vec<_> = lines.iter().map(|line| ("sec-websocket-extensions", *line)).collect();
    let acceptor = Acceptor::new(&AcceptOptions::new().compression(ours));
    let accepted = acceptor.answer(&request(&[], &headers)).unwrap();
    let answer = accepted.response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    (answer.map(|value| value.to_str().unwrap().to_owned()), accepted.negotiated.compression)
}

const fn params(server_forgets: bool, client_forgets: bool, server: u8, client: u8) -> Params {
    Params {
        server_no_context_takeover: server_forgets,
        client_no_context_takeover: client_forgets,
        server_max_window_bits: server,
        client_max_window_bits: client,
    }
}

#[test]
fn the_first_good_offer_is_answered() {
    let check = |ours: Compression, lines: &[&'static str], text: &str, negotiated: Params| {
        let expected = (Some(format!("permessage-deflate{text}")), Some(negotiated));
        assert_eq!(answer(ours, lines), expected, "{lines:?}");
    };
    let takeover = Compression::context_takeover();
    check(takeover, &["permessage-deflate"], "", Params::default());
    check(takeover, &["foo, permessage-deflate; client_max_window_bits"], "", Params::default());
    check(
        takeover,
        &["permessage-deflate; server_no_context_takeover"],
        "; server_no_context_takeover",
        params(true, false, 15, 15),
    );
    check(
        takeover,
        &["permessage-deflate; client_no_context_takeover"],
        "; client_no_context_takeover",
        params(false, true, 15, 15),
    );
    // The examples of RFC 7692 §7.1.3.
    check(
        takeover,
        &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
        "; server_max_window_bits=10",
        params(false, false, 10, 15),
    );
    check(
        takeover,
        &["permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
           permessage-deflate; client_max_window_bits"],
        "; server_max_window_bits=10",
        params(false, false, 10, 15),
    );
    check(
        takeover,
        &["permessage-deflate; server_max_window_bits=\"10\""],
        "; server_max_window_bits=10",
        params(false, false, 10, 15),
    );
    check(
        takeover,
        &["permessage-deflate; client_max_window_bits=8"],
        "; client_max_window_bits=8",
        params(false, false, 15, 8),
    );
    check(
        takeover,
        &["permessage-deflate; server_max_window_bits=8"],
        "; server_max_window_bits=8",
        params(false, false, 8, 15),
    );
    // Three alternatives, as in Autobahn 13.7.
    let three = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=9; client_max_window_bits=9, \
                 permessage-deflate; server_no_context_takeover; client_no_context_takeover, \
                 permessage-deflate";
    check(
        takeover,
        &[three],
        "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
         client_max_window_bits=9",
        params(true, true, 9, 9),
    );
    // Invalid offers before it do not matter.
    check(
        takeover,
        &[
            "permessage-deflate; unknown, permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; a b",
            "permessage-deflate; server_no_context_takeover, permessage-deflate",
        ],
        "; server_no_context_takeover",
        params(true, false, 15, 15),
    );
}

#[test]
fn the_answer_follows_the_servers_settings() {
    let check = |ours: Compression, offer: &'static str, text: &str, negotiated: Params| {
        let expected = (Some(format!("permessage-deflate{text}")), Some(negotiated));
        assert_eq!(answer(ours, &[offer]), expected, "{offer}");
    };
    let ours = Compression::no_context_takeover();
    check(
        ours,
        "permessage-deflate; client_max_window_bits",
        "; server_no_context_takeover; client_no_context_takeover",
        params(true, true, 15, 15),
    );
    let ours = Compression::context_takeover().window_bits(11).peer_window_bits(10);
    // A parameter that was not offered cannot be required.
    check(ours, "permessage-deflate", "; server_max_window_bits=11", params(false, false, 11, 15));
    check(
        ours,
        "permessage-deflate; client_max_window_bits",
        "; server_max_window_bits=11; client_max_window_bits=10",
        params(false, false, 11, 10),
    );
    check(
        ours,
        "permessage-deflate; client_max_window_bits=12; server_max_window_bits=15",
        "; server_max_window_bits=11; client_max_window_bits=10",
        params(false, false, 11, 10),
    );
    check(
        ours,
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
        "; server_max_window_bits=9; client_max_window_bits=9",
        params(false, false, 9, 9),
    );
    check(
        Compression::context_takeover(),
        "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15",
        "; server_max_window_bits=15; client_max_window_bits=15",
        params(false, false, 15, 15),
    );
}

#[test]
fn a_bad_offer_is_declined_and_the_connection_is_not() {
    let check = |offer| {
        assert_eq!(answer(Compression::context_takeover(), &[offer]), (None, None), "{offer}");
    };
    for offer in [
        "",
        "foo",
        "PERMESSAGE-DEFLATE",
        "x-webkit-deflate-frame",
        "\"permessage-deflate\"",
        "permessage-deflate;",
        "permessage-deflate; unknown",
        "permessage-deflate; =",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=016",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=\"9",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
    ] {
        check(offer);
    }
    assert_eq!(answer(Compression::off(), &["permessage-deflate"]), (None, None));
}

/// The result of a client with this offer for a response with these headers.
fn verify(offer: &Offer, with: &[Header]) -> Result<Negotiated, HandshakeError> {
    let mut request = request(&["sec-websocket-key"], &[]);
    *request.headers_mut() = offer.headers();
    request.headers_mut().insert("host", HeaderValue::from_static("server.example.com"));
    let mut response = Acceptor::new(&AcceptOptions::new()).answer(&request).unwrap().response;
    for (name, value) in with {
        let name = HeaderName::from_static(name);
        match *value {
            "(none)" => drop(response.headers_mut().remove(name)),
            value if name == "upgrade" || name == "connection" => {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            value => drop(response.headers_mut().append(name, HeaderValue::from_static(value))),
        }
    }
    offer.verify(&response)
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    use HandshakeError as E;
    let check = |with: &[Header], expected: Result<Option<&str>, E>| {
        let offer = Offer::new(["v2", "v1"], Compression::off()).unwrap();
        let expected = expected.map(|name| name.map(String::from));
        assert_eq!(
            verify(&offer, with).map(|negotiated| negotiated.subprotocol),
            expected,
            "{with:?}"
        );
    };
    check(&[], Ok(None));
    check(&[("upgrade", "WebSocket"), ("connection", "keep-alive, upgrade")], Ok(None));
    check(&[("upgrade", "(none)")], Err(E::Upgrade));
    check(&[("upgrade", "h2c")], Err(E::Upgrade));
    check(&[("connection", "(none)")], Err(E::Connection));
    check(&[("connection", "close")], Err(E::Connection));
    check(&[("sec-websocket-accept", "(none)")], Err(E::AcceptMissing));
    check(&[("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")], Err(E::AcceptRepeated));
    let wrong = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    check(&[("sec-websocket-accept", "(none)"), wrong], Err(E::AcceptWrong));
    check(&[("sec-websocket-extensions", "permessage-deflate")], Err(E::ExtensionNotOffered));
    check(&[("sec-websocket-extensions", "foo")], Err(E::ExtensionNotOffered));
    check(&[("sec-websocket-extensions", "foo bar")], Err(E::ExtensionsMalformed));
    check(&[("sec-websocket-protocol", "v1")], Ok(Some("v1")));
    check(&[("sec-websocket-protocol", "V1")], Err(E::SubprotocolNotOffered));
    check(&[("sec-websocket-protocol", "")], Err(E::SubprotocolNotOffered));
    check(&[("sec-websocket-protocol", "v2, v1")], Err(E::SubprotocolNotOffered));
    let twice = [("sec-websocket-protocol", "v1"), ("sec-websocket-protocol", "v1")];
    check(&twice, Err(E::SubprotocolRepeated));

    let silent = Offer::new([""; 0], Compression::off()).unwrap();
    let answer = verify(&silent, &[("sec-websocket-protocol", "v1")]);
    assert_eq!(answer, Err(E::SubprotocolNotOffered));
    let refusal = Response::builder().status(403).body(()).unwrap();
    assert_eq!(silent.verify(&refusal), Err(E::Status(http::StatusCode::FORBIDDEN)));
}

#[test]
fn an_answer_keeps_within_the_offered_compression() {
    use HandshakeError::{CompressionTerms, ExtensionNotOffered, ExtensionRepeated};
    let check = |ours, answer: &'static str, expected: Result<Params, HandshakeError>| {
        let offer = Offer::new([""; 0], ours).unwrap();
        let negotiated = verify(&offer, &[("sec-websocket-extensions", answer)]);
        assert_eq!(
            negotiated.map(|negotiated| negotiated.compression),
            expected.map(Some),
            "{answer}"
        );
    };
    let takeover = Compression::context_takeover();
    check(takeover, "permessage-deflate", Ok(Params::default()));
    check(
        takeover,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=8; client_max_window_bits=\"9\"",
        Ok(params(true, true, 8, 9)),
    );
    for bad in [
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover=1",
    ] {
        check(takeover, bad, Err(CompressionTerms));
    }
    check(takeover, "permessage-deflate, permessage-deflate", Err(ExtensionRepeated));
    check(takeover, "permessage-deflate, foo", Err(ExtensionNotOffered));

    let small = takeover.window_bits(10).peer_window_bits(11);
    check(small, "permessage-deflate", Err(CompressionTerms));
    check(small, "permessage-deflate; server_max_window_bits=12", Err(CompressionTerms));
    check(small, "permessage-deflate; server_max_window_bits=11", Ok(params(false, false, 11, 10)));
    check(
        small,
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        Ok(params(false, false, 9, 9)),
    );
    check(
        small,
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11",
        Err(CompressionTerms),
    );

    let forgets = Compression::no_context_takeover();
    check(forgets, "permessage-deflate", Err(CompressionTerms));
    // Our parameter is a hint: the client compresses without takeover anyway.
    check(
        forgets,
        "permessage-deflate; server_no_context_takeover",
        Ok(params(true, true, 15, 15)),
    );
}

fn any_compression() -> impl Strategy<Value = Compression> {
    (0..3, 8..=15u8, 8..=15u8).prop_map(|(mode, bits, peer_bits)| {
        let mode = match mode {
            0 => Compression::off(),
            1 => Compression::no_context_takeover(),
            _ => Compression::context_takeover(),
        };
        mode.window_bits(bits).peer_window_bits(peer_bits)
    })
}

/// Likely and unlikely header values.
fn any_value() -> impl Strategy<Value = HeaderValue> {
    let pieces = prop::sample::select(vec![
        "permessage-deflate",
        "client_max_window_bits",
        "server_max_window_bits",
        "10",
        "websocket",
        "Upgrade",
        "13",
        "http://",
        "example.com",
        ":80",
        "[::1]",
        "@",
        ",",
        ";",
        "=",
        "\"",
        "\\",
        " ",
    ]);
    let likely =
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    let bytes = prop_oneof![likely, prop::collection::vec(any::<u8>(), 0..40)];
    bytes.prop_filter_map("not a header value", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let names = prop::sample::select(vec![
        "host",
        "origin",
        "upgrade",
        "connection",
        "content-length",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-accept",
    ]);
    let header = (names.prop_map(HeaderName::from_static), any_value());
    prop::collection::vec(header, 0..6).prop_map(|headers| headers.into_iter().collect())
}

proptest! {
    #[test]
    fn no_headers_make_it_panic(headers in any_headers(), ours in any_compression()) {
        let options = AcceptOptions::new()
            .origin(Origin::patterns(["*.example.com"]))
            .subprotocols(["chat"])
            .compression(ours);
        // On top of a valid request or response, so that all checks are reached.
        let mut request = request(&[], &[]);
        let offer = Offer::new(["chat"], ours).unwrap();
        request.headers_mut().extend(offer.headers());
        let mut response = Acceptor::new(&options).answer(&request).unwrap().response;
        request.headers_mut().extend(headers.clone());
        response.headers_mut().extend(headers);
        if let Err(rejection) = Acceptor::new(&options).answer(&request) {
            let _ = rejection.into_response();
        }
        let _ = offer.verify(&response);
    }

    #[test]
    fn both_sides_agree_on_the_same(
        client in any_compression(),
        server in any_compression(),
        offered in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3).prop_shuffle(),
        spoken in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3).prop_shuffle(),
    ) {
        let offer = Offer::new(offered, client).unwrap();
        let mut request = request(&["sec-websocket-key"], &[]);
        request.headers_mut().extend(offer.headers());
        let options = AcceptOptions::new().subprotocols(spoken).compression(server);
        let Accepted { response, negotiated, .. } = Acceptor::new(&options).answer(&request).unwrap();
        prop_assert_eq!(negotiated.compression.is_some(), client.is_on() && server.is_on());
        prop_assert_eq!(offer.verify(&response), Ok(negotiated));
    }

    #[cfg(feature = "conn")]
    #[test]
    fn no_bytes_make_a_head_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use ws_core::handshake::head;
        let _ = head::decode_request(&bytes);
        let _ = head::decode_response(&bytes);
    }
}
