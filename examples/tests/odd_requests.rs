//! How does each adapter respond to unusual and malformed requests?
#![cfg(test)]

mod adapters;

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use ws_server_hyper::{AcceptOptions, Conn, Error};

use adapters::Served;

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// The headers of a valid opening handshake.
const VALID_HEADERS: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// A request line, headers before [`VALID_HEADERS`], and the expected status.
const ROWS: &[(&str, &str, u16)] = &[
    ("GET /x HTTP/1.1\r\n", "", 101),
    // Absolute form, and a query with invalid percent-encoding.
    ("GET http://a/x HTTP/1.1\r\n", "", 101),
    ("GET /x?q=%00%ff&&=%2 HTTP/1.1\r\n", "", 101),
    ("GET /x HTTP/1.1\r\n", "content-length: 0\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Connection: close, , keep-alive\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Upgrade: h2c\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Extensions: ;;\"\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Cookie: =;=\r\nCookie:\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Content-Length: 5\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Transfer-Encoding: chunked\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Protocol: a,a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Version: 013\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Folded: a\r\n b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Space : a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Nul: \0\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Origin: null\r\n", 403),
    ("GET /x HTTP/1.1\r\n", "Origin: http://a, http://a\r\n", 403),
    ("GET /x HTTP/1.1\r\n", "Origin: \u{fc}\r\n", 403),
    ("HEAD /x HTTP/1.1\r\n", "", 405),
    ("CHAT /x HTTP/1.1\r\n", "", 405),
    ("GET /x HTTP/1.0\r\n", "", 426),
    ("GET /x HTTP/3.0\r\n", "", 400),
    ("GET  /x  HTTP/1.1\r\n", "", 400),
    ("\x16\x03\x01\r\n", "", 400),
];

/// Sends a request followed by a message, and returns the status of the response. The message is
/// echoed only if the request was accepted.
async fn send(served: &Served, line: &str, headers: &str) -> u16 {
    let (mut client_io, server_io) = duplex(64 * 1024);
    served.serve(Box::new(server_io));
    let request = [line.as_bytes(), headers.as_bytes(), VALID_HEADERS.as_bytes(), HI].concat();
    client_io.write_all(&request).await.unwrap();
    client_io.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    client_io.shutdown().await.unwrap();
    let mut response = Vec::new();
    client_io.read_to_end(&mut response).await.unwrap();
    let head = response.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = response.split_at(head);
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    match status {
        101 => assert_eq!(body, b"\x81\x02hi\x88\x02\x03\xe8", "{line:?} {headers:?}"),
        _ => assert!(!body.windows(4).any(|bytes| bytes == b"\x81\x02hi"), "{body:?}"),
    }
    status
}

#[tokio::test]
async fn odd_requests_have_the_same_status_and_the_next_connection_works() {
    let run = async {
        for served in adapters::each(&AcceptOptions::new(), echo) {
            for (line, headers, status) in ROWS {
                let response_status = send(&served, line, headers).await;
                assert_eq!(response_status, *status, "{}: {line:?} {headers:?}", served.by);
                let (line, headers, status) = ROWS[0];
                assert_eq!(send(&served, line, headers).await, status, "{}", served.by);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}
