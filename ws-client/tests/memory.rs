//! How much memory does a connection hold for the response of its server?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

mod allocator;

use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_client::{Conn, Dial, Dialer, reqwest};
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

/// What a server sends to WebSockets that are not read.
#[derive(Clone, Copy, Debug)]
struct Unread {
    /// How many WebSockets are filled to their window.
    sockets: usize,
    /// The payload of each DATA frame: it divides the window.
    payload: &'static [u8],
    /// After so many DATA frames, one of 16 KiB is sent to a WebSocket that is read: h2 then allows 63
    /// short ones more.
    between: usize,
}

/// The window of a stream, and a long DATA frame.
const WINDOW: usize = 64 * KIB;
const LONG: usize = 16 * KIB;

/// Appends an HTTP/2 frame.
fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    into.extend([kind, flags]);
    into.extend(stream.to_be_bytes());
    into.extend(payload);
}

/// The next HTTP/2 frame, until the client has gone.
async fn next_frame(from: &mut OwnedReadHalf) -> Option<([u8; 9], Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    from.read_exact(&mut payload).await.ok()?;
    Some((head, payload))
}

/// Adds what the client opens of the window of a stream.
async fn reopen(mut from: OwnedReadHalf, stream: u32, window: Arc<Semaphore>) {
    while let Some((head, payload)) = next_frame(&mut from).await {
        if head[3] == 8 && head[5..] == stream.to_be_bytes() {
            window.add_permits(u32::from_be_bytes(payload.try_into().unwrap()) as usize);
        }
    }
}

/// Opens all streams, and fills all but the last, which gets a message when that is done.
async fn fill(tcp: TcpStream, unread: Unread) {
    tcp.set_nodelay(true).unwrap();
    let (mut from, mut to) = tcp.into_split();
    from.read_exact(&mut [0; 24]).await.unwrap();
    let mut settings = Vec::new();
    frame(&mut settings, 4, 0, 0, b"\0\x08\0\0\0\x01");
    to.write_all(&settings).await.unwrap();
    let mut streams = Vec::new();
    loop {
        let (head, payload) = next_frame(&mut from).await.expect("the client is ready later");
        let mut answer = Vec::new();
        match head[3..5] {
            // SETTINGS: from then on, they hold.
            [4, 0] => frame(&mut answer, 4, 1, 0, b""),
            // PING, if it is not an answer.
            [6, 0] => frame(&mut answer, 6, 1, 0, &payload),
            // HEADERS: 200.
            [1, _] => {
                streams.push(u32::from_be_bytes(head[5..9].try_into().unwrap()));
                frame(&mut answer, 1, 4, *streams.last().unwrap(), b"\x88");
            }
            // DATA: the client is ready.
            [0, _] => break,
            _ => {}
        }
        to.write_all(&answer).await.unwrap();
    }
    let (read, unread_ones) = streams.split_last().unwrap();
    let window = Arc::new(Semaphore::new(WINDOW));
    tokio::spawn(reopen(from, *read, Arc::clone(&window)));
    let (mut frames, mut since) = (Vec::new(), 0);
    for stream in unread_ones {
        for _ in 0..WINDOW / unread.payload.len() {
            frame(&mut frames, 0, 0, *stream, unread.payload);
            since += 1;
            if since == unread.between {
                since = 0;
                to.write_all(&mem::take(&mut frames)).await.unwrap();
                window.acquire_many(LONG as u32).await.unwrap().forget();
                let mut message = vec![0; LONG];
                message[..4].copy_from_slice(b"\x82\x7e\x3f\xfc");
                frame(&mut frames, 0, 0, *read, &message);
            }
        }
        to.write_all(&mem::take(&mut frames)).await.unwrap();
    }
    window.acquire_many(6).await.unwrap().forget();
    let mut done = Vec::new();
    frame(&mut done, 0, 0, *read, b"\x81\x04done");
    to.write_all(&done).await.unwrap();
    std::future::pending().await
}

/// What the client holds when all is sent. The connection is up.
async fn hold(unread: Unread) -> usize {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        Runtime::new().unwrap().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            fill(listener.accept().await.unwrap().0, unread).await;
        });
    });
    let dialer = Dialer::new().no_proxy().http2_only();
    let dial = Dial::new(format!("ws://{}/", told.recv().unwrap())).dialer(&dialer);
    let mut conns: Vec<Conn> = Vec::new();
    for _ in 0..=unread.sockets {
        conns.push(dial.clone().connect().await.unwrap());
    }
    let read = conns.pop().unwrap();
    let before = allocator::live();
    read.write("ready").await.unwrap();
    while !read.read().await.expect("the connection is up").is_text() {}
    let held = allocator::live().wrapping_sub(before);
    for conn in &conns {
        for _ in 0..WINDOW / unread.payload.len() {
            assert_eq!(conn.read().await.unwrap().as_bytes(), &unread.payload[2..], "{unread:?}");
        }
    }
    held
}

#[test]
fn what_is_not_read_over_http2_takes_its_window_however_short_the_frames() {
    /// Frames that are received and not moved, and the places of those that were.
    const SHORT_FRAMES: usize = 24 * KIB * KIB;
    let (tiny, short): (&[u8], &[u8]) = (b"\x81\0", b"\x81\x0e14 characters.");
    let check = |sockets, payload, between| {
        let unread = Unread { sockets, payload, between };
        let filling = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let in_time = async { timeout(Duration::from_secs(60), hold(unread)).await.unwrap() };
            runtime.enable_all().build().unwrap().block_on(in_time)
        });
        let held = filling.join().unwrap();
        println!("{unread:?}: {held} bytes");
        assert!(held <= sockets * WINDOW + SHORT_FRAMES, "{unread:?}: {held}");
        assert!(held >= sockets * WINDOW, "{unread:?}: {held} is too good to be true");
    };
    check(12, tiny, usize::MAX);
    check(6, tiny, 60);
    check(100, short, usize::MAX);
}
