//! Does each adapter disconnect clients that send no request within the timeout?

use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::{Instant, sleep, timeout};
use ws_server_hyper::{AcceptOptions, Conn, Error};

use crate::adapters;

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// What a client sends before it stays silent.
const INPUTS: [&[u8]; 7] = [
    b"",
    // The HTTP version cannot be detected yet.
    b"PRI * HTT",
    b"GET /x HTTP/1.1\r\nHost: a\r\n",
    // One request is complete. HTTP/1.1 keeps the connection open for the next.
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
];

#[tokio::test(start_paused = true)]
async fn a_client_without_a_complete_request_is_disconnected_after_30_s() {
    for served in adapters::each(&AcceptOptions::new(), echo) {
        for input in INPUTS {
            let (mut client_io, server_io) = duplex(4096);
            let began = Instant::now();
            served.serve(Box::new(server_io));
            client_io.write_all(input).await.unwrap();
            let mut response = Vec::new();
            let gone = client_io.read_to_end(&mut response);
            let context = format!("{}: {:?}", served.by, input.escape_ascii());
            timeout(Duration::from_secs(100), gone).await.expect(&context).unwrap();
            assert_eq!(began.elapsed().as_secs(), 30, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_may_stay_idle_after_a_request() {
    for served in adapters::each(&AcceptOptions::new(), echo) {
        let (client_io, server_io) = duplex(4096);
        served.serve(Box::new(server_io));
        let mut client = adapters::http2(Box::new(client_io)).await;
        for _ in 0..3 {
            let request = Request::get("http://a/x").body(Empty::new()).unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), 405, "{}", served.by);
            sleep(Duration::from_secs(100)).await; // tidy: sleep is the subject
        }
    }
}
