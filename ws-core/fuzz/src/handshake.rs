//! Is every request head answered with a valid response?

use http::header::{HOST, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use ws_core::Compression;
use ws_core::handshake::head::{
    HeadError, MAX_HEAD, MAX_HEADERS, decode_request, decode_response, encode_request,
    encode_response,
};
use ws_core::handshake::{
    AcceptOptions, Accepted, Acceptor, Offer, Origin, Rejection, SubprotocolOrder, is_upgrade,
};

use crate::Input;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (is_response, cut) = (input.byte() & 1 != 0, input.size());
    let head = input.rest();
    let early = &head[..cut.min(head.len())];
    if is_response {
        let Ok(Some((response, taken))) = decode_response(head) else { return };
        assert_eq!(taken <= early.len(), matches!(decode_response(early), Ok(Some(_))));
        check_response(response);
    } else {
        let Ok(Some((request, taken))) = decode_request(head) else { return };
        assert_eq!(taken <= early.len(), matches!(decode_request(early), Ok(Some(_))));
        check_printed(&request);
        for options in servers() {
            match Acceptor::new(&options).answer(&request) {
                Ok(accepted) => check_accepted(&request, &accepted),
                Err(rejection) => check_rejected(&request, rejection),
            }
        }
    }
}

fn servers() -> [AcceptOptions; 4] {
    [
        AcceptOptions::new(),
        AcceptOptions::new()
            .origin(Origin::any())
            .subprotocols(["chat", "b"])
            .compression(Compression::context_takeover()),
        AcceptOptions::new()
            .origin(Origin::patterns(["*.example.com", "localhost:*", "tauri://*l?st"]))
            .subprotocols(["b", "chat"])
            .subprotocol_order(SubprotocolOrder::Client)
            .require_subprotocol()
            .compression(Compression::no_context_takeover().window_bits(9).peer_window_bits(10)),
        AcceptOptions::new()
            .origin(Origin::check(|origin, _| origin.len() & 1 == 0).refuse_missing())
            .subprotocol_selector(|offered| offered.last().map(|&last| last.to_owned()))
            .response_header(HeaderName::from_static("x-more"), "yes".parse().expect("legal")),
    ]
}

/// An encoded head decodes to the same, unless its `Host` or its spaces make it too large.
fn check_printed(request: &Request<()>) {
    let printed = encode_request(request);
    let decoded = decode_request(&printed);
    if decoded.as_ref().is_err_and(|error| *error == HeadError::TooLarge) {
        let added_host = !request.headers().contains_key(HOST);
        let headers = request.headers().len() + usize::from(added_host);
        assert!(headers > MAX_HEADERS || printed.len() > MAX_HEAD, "{printed:?} is not too large");
        return;
    }
    let Ok(Some((again, taken))) = decoded else {
        panic!("{printed:?} cannot be read");
    };
    assert_eq!(taken, printed.len());
    assert_eq!(again.method(), request.method());
    for name in request.headers().keys() {
        assert!(again.headers().get_all(name).iter().eq(request.headers().get_all(name)));
    }
}

fn check_accepted(request: &Request<()>, accepted: &Accepted) {
    let Accepted { response, negotiated, .. } = accepted;
    assert!(is_upgrade(request));
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let count = |name| response.headers().get_all(name).iter().count();
    assert_eq!(count(SEC_WEBSOCKET_ACCEPT), 1);
    assert_eq!(count(SEC_WEBSOCKET_PROTOCOL), usize::from(negotiated.subprotocol.is_some()));
    if let Some(subprotocol) = &negotiated.subprotocol {
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let mut offered = offered.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        assert!(offered.any(|name| name.trim_ascii() == subprotocol.as_bytes()));
    }

    let printed = encode_response(&response.clone().map(|()| ""));
    let Ok(Some((again, taken))) = decode_response(&printed) else {
        panic!("{printed:?} cannot be read");
    };
    assert_eq!((taken, again.headers()), (printed.len(), response.headers()));
}

fn check_rejected(request: &Request<()>, rejection: Rejection) {
    assert_eq!(
        is_upgrade(request),
        !matches!(rejection, Rejection::NotUpgrade | Rejection::HttpTooOld)
    );
    let status = rejection.status();
    assert!(status.is_client_error() || status.is_server_error(), "{status}");
    let printed = encode_response(&rejection.into_response());
    let Ok(Some((again, taken))) = decode_response(&printed) else {
        panic!("{printed:?} cannot be read");
    };
    assert_eq!(again.status(), status);
    let len = (printed.len() - taken).to_string();
    assert_eq!(again.headers()["content-length"], len.as_str());
}

/// Verifies the response unchanged, and again with the correct `Sec-WebSocket-Accept`.
fn check_response(mut response: Response<()>) {
    let compression = Compression::no_context_takeover().window_bits(11);
    let offer = Offer::new(["chat", "b"], compression).expect("two tokens");
    assert!(offer.verify(&response).is_err(), "{response:?} cannot know the key");
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept(&offer.headers()));
    if let Ok(negotiated) = offer.verify(&response) {
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(negotiated.subprotocol.is_none_or(|name| ["chat", "b"].contains(&name.as_str())));
    }
}

/// The response of a server to the key in these headers.
fn accept(offer: &HeaderMap) -> HeaderValue {
    let mut request = Request::get("/").header("host", "localhost").body(()).expect("a request");
    request.headers_mut().extend(offer.clone());
    let accepted = Acceptor::new(&AcceptOptions::new()).answer(&request).expect("a good request");
    accepted.response.headers()[SEC_WEBSOCKET_ACCEPT].clone()
}
