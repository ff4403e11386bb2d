//! How does a WebSocket begin over HTTP/2 (RFC 8441), and which requests pass to other routes?

use http::{Method, Request, Response, StatusCode, Version};
use ws_core::Acceptor;
use ws_core::Compression;
use ws_core::handshake::Negotiated;
use ws_core::handshake::{
    AcceptOptions, HandshakeError, HandshakeRequest, Offer, Rejection, is_upgrade,
};

type Header = (&'static str, &'static str);

/// An extended CONNECT with these headers.
fn connect(headers: &[Header]) -> Request<()> {
    let mut request = Request::connect("https://server.example.com/chat").version(Version::HTTP_2);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn answer(
    options: &AcceptOptions,
    request: &Request<()>,
    protocol: Option<&str>,
) -> Result<(Response<()>, Negotiated), Rejection> {
    let accepted =
        Acceptor::new(options).answer(HandshakeRequest::from(request).protocol(protocol))?;
    Ok((accepted.response, accepted.negotiated))
}

const VERSION: Header = ("sec-websocket-version", "13");

#[test]
fn an_extended_connect_is_answered_with_200_and_without_a_key() {
    let options =
        AcceptOptions::new().subprotocols(["chat"]).compression(Compression::no_context_takeover());
    let request = connect(&[
        VERSION,
        ("origin", "https://server.example.com"),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ]);
    let (response, negotiated) = answer(&options, &request, Some("websocket")).unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["sec-websocket-extensions", "sec-websocket-protocol"]);
    assert_eq!(negotiated.subprotocol.as_deref(), Some("chat"));
    assert!(negotiated.compression.is_some());
}

#[test]
fn a_bad_connect_is_refused_without_a_word_of_http_1() {
    use Rejection as R;
    let check = |request: &Request<()>, protocol, reason: R, status: u16, hints: &[Header]| {
        assert_eq!(answer(&AcceptOptions::new(), request, protocol).unwrap_err(), reason);
        let headers = reason.headers();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        assert_eq!((reason.status().as_u16(), &*headers.collect::<Vec<_>>()), (status, hints));
    };
    let ws = Some("websocket");
    check(&connect(&[VERSION]), None, R::ProtocolUnknown, 501, &[]);
    check(&connect(&[VERSION]), Some("connect-udp"), R::ProtocolUnknown, 501, &[]);
    check(&connect(&[VERSION]), Some("WebSocket"), R::ProtocolUnknown, 501, &[]);
    check(&connect(&[]), ws, R::VersionMissing, 400, &[VERSION]);
    check(&connect(&[VERSION, VERSION]), ws, R::VersionRepeated, 400, &[VERSION]);
    let old = connect(&[("sec-websocket-version", "8")]);
    check(&old, ws, R::ConnectVersionUnsupported, 400, &[VERSION]);
    check(&connect(&[VERSION, ("content-length", "1")]), ws, R::Body, 400, &[]);
    let foreign = connect(&[VERSION, ("origin", "https://evil.example")]);
    let refused = answer(&AcceptOptions::new(), &foreign, ws).unwrap_err();
    assert!(matches!(refused, R::OriginRefused { .. }));
    check(&foreign, ws, refused, 403, &[]);

    let mut get = connect(&[VERSION]);
    *get.method_mut() = Method::GET;
    check(&get, None, R::NotConnect, 405, &[("allow", "CONNECT")]);
    let mut nowhere = connect(&[VERSION]);
    *nowhere.uri_mut() = "/chat".parse().unwrap();
    check(&nowhere, ws, R::HostMissing, 400, &[]);
    // `Host` in place of `:authority` is valid too.
    nowhere.headers_mut().insert("host", "server.example.com".parse().unwrap());
    assert!(answer(&AcceptOptions::new(), &nowhere, ws).is_ok());
}

#[test]
fn client_and_server_agree_over_http_2() {
    let offer = Offer::new(["v2", "v1"], Compression::context_takeover()).unwrap();
    let mut request = connect(&[]);
    request.headers_mut().extend(offer.connect_headers());
    let options =
        AcceptOptions::new().subprotocols(["v1"]).compression(Compression::context_takeover());
    let (mut response, negotiated) = answer(&options, &request, Some("websocket")).unwrap();
    assert_eq!(offer.verify(&response).unwrap(), negotiated);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let error = offer.verify(&response).unwrap_err();
    assert_eq!(error, HandshakeError::Status(StatusCode::SWITCHING_PROTOCOLS));
    // Over HTTP/1.1, status 200 is an error.
    *response.version_mut() = Version::HTTP_11;
    *response.status_mut() = StatusCode::OK;
    assert_eq!(offer.verify(&response).unwrap_err(), HandshakeError::Status(StatusCode::OK));
}

#[test]
fn a_filter_is_asked_before_anything_is_checked() {
    let options = AcceptOptions::new()
        .filter(|request| request.uri().path() == "/chat" && request.extensions().is_empty());
    let ws = Some("websocket");
    assert!(answer(&options, &connect(&[VERSION]), ws).is_ok());
    let mut marked = connect(&[]);
    marked.extensions_mut().insert("by middleware");
    let refused = answer(&options, &marked, ws).unwrap_err();
    assert_eq!((refused.clone(), refused.status()), (Rejection::Filtered, StatusCode::NOT_FOUND));
    assert!(refused.falls_through());
    // The filter is not called for other requests.
    let options = AcceptOptions::new().filter(|_| panic!("asked"));
    let plain = answer(&options, &connect(&[]), None).unwrap_err();
    assert_eq!(plain, Rejection::ProtocolUnknown);
    assert_eq!(Acceptor::new(&options).check(&connect(&[])).unwrap_err(), plain);
    assert!(plain.falls_through() && !Rejection::VersionMissing.falls_through());
}

#[test]
fn a_panic_of_the_application_is_an_answer_of_500() {
    let options = AcceptOptions::new().filter(|_| panic!("the filter failed"));
    let refused = answer(&options, &connect(&[VERSION]), Some("websocket")).unwrap_err();
    assert_eq!(refused, Rejection::Internal);
    let request = connect(&[VERSION]);
    let early =
        Acceptor::new(&options).check(HandshakeRequest::from(&request).protocol(Some("websocket")));
    assert_eq!(early.unwrap_err(), Rejection::Internal);
    assert!(!refused.into_response().body().contains("filter"));
}

#[test]
fn an_extended_connect_is_an_upgrade() {
    let request = connect(&[]);
    assert!(is_upgrade(HandshakeRequest::from(&request).protocol(Some("websocket"))));
    assert!(!is_upgrade(&request));
    let (parts, ()) = request.into_parts();
    assert!(is_upgrade(HandshakeRequest::from(&parts).protocol(Some("websocket"))));
}
