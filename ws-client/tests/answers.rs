//! Does the client judge any answer of a server, within its deadline?
//!
//! The answers are made of lines that mean something to the client, with random bytes in between.

use std::error::Error;
use std::time::Duration;

use http::Request;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use ws_client::{Compression, Dial, DialError};
use ws_core::handshake::head::decode_request;
use ws_core::handshake::{AcceptOptions, Acceptor};

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// Stands for the right value of `Sec-WebSocket-Accept`.
const ACCEPT: u8 = 0xff;

const PARTS: &[&[u8]] = &[
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
      sec-websocket-accept: \xff\r\n",
    b"upgrade: websocket\r\n",
    b"connection: keep-alive, Upgrade\r\n",
    b"sec-websocket-accept: \xff\r\n",
    b"sec-websocket-protocol: chat\r\n",
    b"sec-websocket-protocol: other\r\n",
    b"sec-websocket-extensions: permessage-deflate; client_no_context_takeover; \
      server_no_context_takeover\r\n",
    b"sec-websocket-extensions: x\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: ws://elsewhere.invalid/\r\n",
    b"HTTP/1.1 403 \x1b[31m\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\n",
    b"content-length: 5\r\n",
    b"content-length: 18446744073709551616\r\n",
    b"transfer-encoding: chunked\r\n",
    b"x-folded: a\r\n b\r\n",
    b"x-empty:\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"\x81\x05hello",
    b"\x88\x02\x03\xe8",
];

fn any_part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => select(PARTS).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (select(PARTS), 0..600_usize).prop_map(|(part, times)| part.repeat(times)),
    ]
}

/// Parts, of which one may have a wrong byte.
fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::collection::vec(any_part(), 0..8);
    let change = prop::option::weighted(0.4, (any::<Index>(), any::<u8>()));
    (parts, change).prop_map(|(parts, change)| {
        let mut answer = parts.concat();
        if let (Some((index, byte)), false) = (change, answer.is_empty()) {
            let at = index.index(answer.len());
            answer[at] = byte;
        }
        answer
    })
}

/// Reads a request, answers it in pieces of this length, and leaves, or stays.
async fn serve(mut server: DuplexStream, answer: Vec<u8>, piece: usize, stays: bool) {
    let mut request = Vec::new();
    let request = loop {
        server.read_buf(&mut request).await.unwrap();
        if let Some((request, _)) = decode_request(&request).unwrap() {
            break request;
        }
    };
    for piece in complete(&answer, &request).chunks(piece) {
        if server.write_all(piece).await.is_err() {
            return;
        }
    }
    while stays && server.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
}

/// The answer with the value for the key of this request.
fn complete(answer: &[u8], request: &Request<()>) -> Vec<u8> {
    let accepted = Acceptor::new(&AcceptOptions::new()).answer(request).unwrap();
    let accept = accepted.response.headers()["sec-websocket-accept"].as_bytes();
    let byte = |byte: &u8| if *byte == ACCEPT { accept.to_vec() } else { vec![*byte] };
    answer.iter().flat_map(byte).collect()
}

async fn check(answer: Vec<u8>, piece: usize, stays: bool) {
    let (client, server) = duplex(300);
    let serving = tokio::spawn(serve(server, answer.clone(), piece, stays));
    let dial = Dial::new("ws://localhost/chat")
        .subprotocols(["chat", "b"])
        .compression(Compression::no_context_takeover());
    let dialled = timeout(FOREVER, dial.connect_over(client)).await.expect("it hangs");
    let error = match dialled {
        Ok(conn) => {
            let has_accepted = answer.windows(4).any(|part| part == b" 101");
            assert!(has_accepted && answer.contains(&ACCEPT));
            conn.close_now();
            None
        }
        Err(error) => Some(error),
    };
    timeout(FOREVER, serving).await.expect("the stream stays open").unwrap();
    let Some(error) = error else { return };
    match &error {
        DialError::Timeout(_) => assert!(stays, "there was nothing to wait for"),
        DialError::Refused(refused) => assert!(refused.body.len() <= answer.len() * 28),
        DialError::Io(_) | DialError::Handshake(_) => {}
        error => panic!("{error:?}"),
    }
    // What a server sends is escaped where it is displayed.
    let mut next: Option<&dyn Error> = Some(&error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        next = error.source();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_answer_is_accepted_or_an_error(
        answer in any_answer(),
        piece in prop_oneof![Just(1_usize), 2..60_usize, Just(100_000)],
        stays: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(check(answer, piece, stays));
    }
}
