//! Do both sides negotiate the same compression, within what the other side offered?

use std::slice;

use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::{HeaderMap, HeaderValue, Request, Response};
use ws_core::Compression;
use ws_core::deflate::Params;
use ws_core::handshake::{AcceptOptions, Accepted, Acceptor, Offer};

use crate::Input;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (client, server) = (Wish::read(&mut input), Wish::read(&mut input));
    let lines = lines(input.rest());

    let offer = Offer::new([""; 0], client.compression).expect("no subprotocols");
    let accepted = server.answer(&offer.headers());
    assert_eq!(offer.verify(&accepted.response), Ok(accepted.negotiated), "{client:?} {server:?}");

    server.answer_any(&offer, &lines);
    client.verify_any(&offer, accepted.response, &lines);
}

/// The settings of one side.
#[derive(Clone, Copy, Debug)]
struct Wish {
    compression: Compression,
    is_on: bool,
    forgets: bool,
    window_bits: u8,
    peer_window_bits: u8,
}

impl Wish {
    fn read(input: &mut Input<'_>) -> Self {
        let (flags, bits) = (input.byte(), input.byte());
        let (is_on, forgets) = (flags % 8 != 0, flags & 1 != 0);
        let (window_bits, peer_window_bits) = (15 - bits % 8, 15 - bits / 16 % 8);
        let compression = match (is_on, forgets) {
            (false, _) => Compression::off(),
            (true, true) => Compression::no_context_takeover(),
            (true, false) => Compression::context_takeover(),
        };
        let compression = compression.window_bits(window_bits).peer_window_bits(peer_window_bits);
        Self { compression, is_on, forgets, window_bits, peer_window_bits }
    }

    fn answer(&self, offer: &HeaderMap) -> Accepted {
        let mut request = Request::get("/").header("host", "a").body(()).expect("a request");
        request.headers_mut().extend(offer.clone());
        let options = AcceptOptions::new().compression(self.compression);
        Acceptor::new(&options)
            .answer(&request)
            .expect("no offer of an extension is a reason to refuse")
    }

    /// Answers any offer, as a server.
    fn answer_any(&self, offer: &Offer, lines: &[HeaderValue]) {
        let mut request = offer.headers();
        set(&mut request, lines);
        let Accepted { response, negotiated, .. } = self.answer(&request);
        let answer = response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
        assert_eq!(answer.is_some(), negotiated.compression.is_some());
        let (Some(answer), Some(params)) = (answer, negotiated.compression) else { return };
        assert!(self.is_on && says(lines, "permessage-deflate"));
        check_bits(params);
        assert!(params.server_max_window_bits <= self.window_bits);
        assert!(!self.forgets || params.server_no_context_takeover);
        // A client that did not offer this parameter must not receive it.
        let knows = says(lines, "client_max_window_bits");
        assert!(knows || !says(slice::from_ref(answer), "client_max_window_bits"));
        assert!(!knows || params.client_max_window_bits <= 15);
    }

    /// Verifies any answer, as a client.
    fn verify_any(&self, offer: &Offer, mut response: Response<()>, lines: &[HeaderValue]) {
        set(response.headers_mut(), lines);
        assert!(response.headers().contains_key(SEC_WEBSOCKET_ACCEPT));
        let Ok(negotiated) = offer.verify(&response) else { return };
        let Some(params) = negotiated.compression else { return };
        assert!(self.is_on && says(lines, "permessage-deflate"));
        check_bits(params);
        assert!(params.server_max_window_bits <= self.peer_window_bits);
        assert!(params.client_max_window_bits <= self.window_bits);
        if self.forgets {
            assert!(params.server_no_context_takeover && params.client_no_context_takeover);
        }
    }
}

fn check_bits(params: Params) {
    assert!((8..=15).contains(&params.server_max_window_bits));
    assert!((8..=15).contains(&params.client_max_window_bits));
}

/// The lines of a header, without invalid characters. A request may have them beside its others.
fn lines(bytes: &[u8]) -> Vec<HeaderValue> {
    let lines = bytes.split(|&byte| byte == b'\n').take(80);
    lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect()
}

fn set(headers: &mut HeaderMap, lines: &[HeaderValue]) {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    for line in lines {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, line.clone());
    }
}

fn says(lines: &[HeaderValue], word: &str) -> bool {
    let word = word.as_bytes();
    lines.iter().any(|line| line.as_bytes().windows(word.len()).any(|part| part == word))
}
