//! How much memory does a connection hold for the response of its server?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

mod allocator;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_client::{Dial, Dialer, reqwest};
use ws_core::AcceptOptions;
use ws_core::handshake::Acceptor;
use ws_core::handshake::head::{decode_request, encode_response};

const KIB: usize = 1024;

/// How the client connects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Http1,
    Http2,
    /// By a client of `reqwest`.
    Reqwest,
}

/// The headers of a response beside those of the handshake.
#[derive(Clone, Copy, Debug)]
struct Headers {
    count: usize,
    /// The length of each value.
    len: usize,
}

impl Headers {
    fn add_to(self, headers: &mut HeaderMap) {
        for number in 0..self.count {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            headers.insert(name, HeaderValue::try_from("v".repeat(self.len)).unwrap());
        }
    }
}

/// A message of 32 KiB, which arrives with the response.
fn message() -> Vec<u8> {
    let mut frame = vec![b'm'; 4 + 32 * KIB];
    frame[..4].copy_from_slice(b"\x82\x7e\x80\x00");
    frame
}

/// Serves in a thread of its own, which is not counted.
fn serve(way: Way, headers: Headers) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        Runtime::new().unwrap().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let tcp = listener.accept().await.unwrap().0;
                match way {
                    Way::Http2 => tokio::spawn(serve_http2(tcp, headers)),
                    Way::Http1 | Way::Reqwest => tokio::spawn(serve_http1(tcp, headers)),
                };
            }
        });
    });
    told.recv().unwrap()
}

async fn serve_http1(mut tcp: TcpStream, headers: Headers) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(tcp.read_u8().await.unwrap());
    }
    let request = decode_request(&request).unwrap().unwrap().0;
    let accepted = Acceptor::new(&AcceptOptions::new()).answer(&request).unwrap();
    let mut response = accepted.response.map(|()| "");
    headers.add_to(response.headers_mut());
    let said = [encode_response(&response), message()].concat();
    tcp.write_all(&said).await.unwrap();
    // Until the client has gone.
    let _ = tcp.read_to_end(&mut Vec::new()).await;
}

async fn serve_http2(tcp: TcpStream, headers: Headers) {
    let mut builder = h2::server::Builder::new();
    let mut server = builder.enable_connect_protocol().handshake::<_, Bytes>(tcp).await.unwrap();
    let mut streams = Vec::new();
    while let Some(Ok((request, mut respond))) = server.accept().await {
        let mut response = Response::new(());
        headers.add_to(response.headers_mut());
        let mut send = respond.send_response(response, false).unwrap();
        send.send_data(message().into(), false).unwrap();
        streams.push((request, send));
    }
}

/// The bytes that the client holds for each connection.
fn measure(way: Way, headers: Headers) -> usize {
    let addr = serve(way, headers);
    let measuring = thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let measuring = async { measure_here(way, addr).await };
        let in_time = async { timeout(Duration::from_secs(60), measuring).await.unwrap() };
        runtime.enable_all().build().unwrap().block_on(in_time)
    });
    measuring.join().unwrap()
}

async fn measure_here(way: Way, addr: SocketAddr) -> usize {
    let dialer = Dialer::new().no_proxy();
    let dial = Dial::new(format!("ws://{addr}/"));
    let dial = match way {
        Way::Http1 => dial.dialer(&dialer),
        Way::Http2 => dial.dialer(&dialer.http2_only()),
        Way::Reqwest => {
            let client = reqwest::Client::builder().http1_only().no_proxy();
            dial.client(client.build().unwrap())
        }
    };
    let open = async |count| {
        let mut conns = Vec::new();
        for _ in 0..count {
            let conn = dial.clone().connect().await.unwrap();
            assert_eq!(conn.read().await.unwrap().len(), 32 * KIB);
            conns.push(conn);
        }
        for _ in 0..1000 {
            yield_now().await;
        }
        conns
    };
    // Allocates what connections share.
    let _some = open(8).await;
    let before = allocator::live();
    let _more = open(32).await;
    allocator::live().wrapping_sub(before) / 32
}

/// A header value must not keep the buffer that it was read into.
#[test]
fn a_connection_keeps_a_copy_of_its_response_of_the_right_size() {
    /// The entries of a `HeaderMap`.
    const BOOKKEEPING: usize = 4 * KIB;
    for way in [Way::Http1, Way::Http2, Way::Reqwest] {
        let without = measure(way, Headers { count: 0, len: 0 });
        for headers in [Headers { count: 10, len: 64 }, Headers { count: 1, len: 15 * KIB }] {
            let held = measure(way, headers);
            println!("{way:?}, {headers:?}: {held} bytes, {without} without them");
            let len = headers.count * headers.len;
            assert!(held <= without + 2 * len + BOOKKEEPING, "{way:?}: {held}, {without}");
            assert!(held >= without + len, "{way:?}: {held} is too good to be true, {without}");
        }
    }
}
