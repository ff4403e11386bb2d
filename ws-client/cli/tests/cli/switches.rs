//! Does each option have its effect?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use ws_client::frame::OpCode;
use ws_client::{Conn, Error};
use ws_core::AcceptOptions;
use ws_core::Acceptor;

use crate::program::{Server, run};

/// Reads the head of a request.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A server that refuses, with the head of the request as the body.
fn repeat_and_refuse() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let body = head(&mut stream);
            let length = body.len();
            write!(stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}")
                .unwrap();
        }
    });
    address
}

/// An HTTP proxy, and the targets of its `CONNECT` requests.
fn proxy() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut here = stream.unwrap();
            let head = head(&mut here);
            let to = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
            let mut there = TcpStream::connect(to).unwrap();
            here.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            tell.send(to.to_owned()).unwrap();
            let (mut back, mut from) = (here.try_clone().unwrap(), there.try_clone().unwrap());
            // The results do not matter.
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            thread::spawn(move || std::io::copy(&mut here, &mut there));
        }
    });
    (address, asked)
}

/// A server that reads frames, or nothing, and the payload lengths of its pings. It stops with
/// the runtime.
fn serve(reads: bool) -> (String, mpsc::Receiver<usize>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (tell, pings) = mpsc::channel();
    runtime.spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(conn) = Acceptor::new(&AcceptOptions::new()).accept(stream).await else {
                continue;
            };
            if reads {
                tokio::spawn(note_pings(conn, tell.clone()));
            } else {
                silent.push(conn);
            }
        }
    });
    (url, pings, runtime)
}

async fn note_pings(conn: Conn, tell: mpsc::Sender<usize>) -> Result<(), Error> {
    loop {
        let frame = conn.frames().read().await?;
        if frame.opcode() == OpCode::PING {
            tell.send(frame.payload().len()).unwrap();
        }
    }
}

#[test]
fn headers_and_an_origin_are_sent() {
    let url = repeat_and_refuse().to_string();
    let said =
        run(&["connect", &url, "-H", "X-Key: a b", "-H", "X-Other:c", "-o", "https://x.y"], b"");
    said.check(1, "", " x-key: a b x-other: c origin: https://x.y ");
}

#[test]
fn the_proxy_is_used() {
    let (address, asked) = proxy();
    let server = Server::start(&["-q"]);
    let proxy = format!("http://{address}");
    run(&["connect", "-q", "-x", &proxy, &server.url], b"hello\n").check(0, "hello\n", "");
    assert_eq!(asked.try_recv().as_deref(), Ok(server.address()));
}

#[test]
fn a_message_over_max_size_closes_on_either_side() {
    let server = Server::start(&["-q"]);
    let connect = |url: &str, args: &[&str], input: &[u8]| {
        run(&[&["connect", "--stay", "-n", "1", url], args].concat(), input)
    };
    connect(&server.url, &["--max-size", "4"], b"four\n").check(0, "four\n", "");
    connect(&server.url, &["--max-size", "4"], b"fifth\n").check(
        1,
        "",
        "more than 4 bytes in a message (--max-size)",
    );
    let strict = Server::start(&["--max-size", "4"]);
    connect(&strict.url, &[], b"four\n").check(0, "four\n", "");
    connect(&strict.url, &[], b"fifth\n").check(19, "", "1009");
    let said = strict.interrupt();
    assert!(said.contains("more than 4 bytes in a message (--max-size)"), "{said}");
    // Other commands with the option.
    let short = ["--max-size", "4", "--duration", "0.1", "--warmup", "0"];
    let measured = run(&[&["bench", &server.url, "--size", "5"], &short[..]].concat(), b"");
    assert!(measured.code == 1 && measured.out.contains("(--max-size)"), "{measured:?}");
    let greeting = Server::start(&["-q", "--", "sh", "-c", "echo hello; exec cat"]);
    run(&["ping", "--max-size", "4", &greeting.url], b"").check_error("(--max-size)");
}

#[test]
fn a_silent_server_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = silent.local_addr().unwrap().to_string();
    run(&["connect", "--connect-timeout", "0.1", &url], b"").check(1, "", "(--connect-timeout)");
    let (url, _pings, _runtime) = serve(false);
    let given_up = run(&["connect", "--stay", "--keepalive", "0.1", &url], b"");
    assert_eq!(given_up.code, 1, "{given_up:?}");
    let missing = run(&["ping", "-n", "1", "-W", "0.1", &url], b"");
    assert!(missing.code == 1 && missing.out.contains("1 missing"), "{missing:?}");
}

#[test]
fn wait_sets_how_long_replies_are_waited_for() {
    let check = |command: &str, wait: &str, out: &str| {
        let server = Server::start(&["-q", "--", "sh", "-c", command]);
        run(&["connect", "-q", "-w", wait, &server.url], b"").check(0, out, "");
    };
    check("sleep 1; echo late", "20", "late\n");
    // This command replies too late, and exits at the end of its input.
    check("timeout 25 cat; echo never", "0.01", "");
}

#[test]
fn a_listener_checks_origins() {
    let server = Server::start(&["-o", "https://*.example.com"]);
    let connect = |origin: &str| run(&["connect", "-o", origin, &server.url], b"hello\n");
    connect("https://a.example.com").check(0, "hello\n", "");
    connect("https://example.org").check(1, "", "403 Forbidden");
    let said = server.interrupt();
    assert!(said.contains("the server allows it by --origin or --any-origin"), "{said}");
    let open = Server::start(&["-q", "--any-origin"]);
    run(&["connect", "-o", "https://example.org", &open.url], b"").check(0, "", "");
}

#[test]
fn size_sets_the_length_of_pings() {
    let (url, pings, _runtime) = serve(true);
    for size in [8, 125] {
        let ran = run(&["ping", "-n", "2", "-i", "0", "--size", &size.to_string(), &url], b"");
        assert!(ran.code == 0 && ran.out.contains(&format!("{size} bytes a ping")), "{ran:?}");
        assert_eq!((pings.recv().unwrap(), pings.recv().unwrap()), (size, size));
    }
    assert_eq!(run(&["ping", "--size", "126", &url], b"").code, 2);
}
