//! How long does a server wait for a client that has connected, whichever the adapter?
#![cfg(test)]

mod adapters;

use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::{Instant, sleep, timeout};
use ws_server_hyper::{AcceptOptions, Conn, Error};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// What a client says before it falls silent.
const WORDS: [&[u8]; 7] = [
    b"",
    // Which version it speaks cannot be told yet.
    b"PRI * HTT",
    b"GET /x HTTP/1.1\r\nHost: a\r\n",
    // It has asked for something, and might ask again.
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
];

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_nothing_is_let_go() {
    for served in adapters::each(&AcceptOptions::new(), echo) {
        for words in WORDS {
            let (mut here, there) = duplex(4096);
            let began = Instant::now();
            served.serve(Box::new(there));
            here.write_all(words).await.unwrap();
            let mut answer = Vec::new();
            let gone = here.read_to_end(&mut answer);
            let context = format!("{}: {:?}", served.by, words.escape_ascii());
            timeout(Duration::from_secs(100), gone).await.expect(&context).unwrap();
            assert_eq!(began.elapsed().as_secs(), 30, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_asked_may_be_silent() {
    for served in adapters::each(&AcceptOptions::new(), echo) {
        let (here, there) = duplex(4096);
        served.serve(Box::new(there));
        let mut client = adapters::http2(Box::new(here)).await;
        for _ in 0..3 {
            let request = Request::get("http://a/x").body(Empty::new()).unwrap();
            let answer = client.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 405, "{}", served.by);
            sleep(Duration::from_secs(100)).await; // tidy: sleep is the subject
        }
    }
}
