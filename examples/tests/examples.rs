//! Does each example work?
#![cfg(test)]

mod program;

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Foreign;
use ws_client::{Config, Conn, Dial, DialError, StatusCode};
use ws_core::Acceptor;
use ws_core::handshake::Offer;
use ws_core::{AcceptOptions, Compression, Role};

use crate::program::{Example, in_time, program};

async fn connect(dial: Dial) -> Conn {
    in_time(dial.connect()).await.unwrap()
}

async fn status(dial: Dial) -> u16 {
    match in_time(dial.connect()).await {
        Err(DialError::Refused(refusal)) => refusal.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

async fn text(conn: &Conn) -> String {
    in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()
}

#[tokio::test]
async fn the_echoes_echo() {
    for name in ["echo_axum", "echo_hyper", "echo_warp"] {
        let example = Example::start(name, &[]);
        let conn = connect(example.dial("/")).await;
        conn.write("hello").await.unwrap();
        assert_eq!(text(&conn).await, "hello", "{name}");
        in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
        in_time(check_with_tungstenite(&example.url)).await;
    }
}

/// Tests the echo with the client of tokio-tungstenite.
async fn check_with_tungstenite(url: &str) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for sent in [Foreign::text("hello"), Foreign::binary(vec![7; 100_000])] {
        socket.send(sent.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), sent);
    }
    socket.send(Foreign::Ping("are you there?".into())).await.unwrap();
    let pong = socket.next().await.unwrap().unwrap();
    assert_eq!(pong, Foreign::Pong("are you there?".into()));
    socket.close(None).await.unwrap();
    // The last item is the close frame of the server.
    assert!(matches!(socket.next().await, Some(Ok(Foreign::Close(_)))));
    assert!(socket.next().await.is_none());
}

/// The image of the book runs an example that exists, with arguments that it takes.
#[tokio::test]
async fn the_program_of_the_dockerfile_starts() {
    let dockerfile = include_str!("../../docs/src/deploy/Dockerfile");
    let line = |start: &str| dockerfile.lines().find_map(|line| line.strip_prefix(start)).unwrap();
    let built = line("RUN cargo build --release --locked --package examples --example ");
    assert!(
        line("COPY --from=build ").starts_with(&format!("/src/target/release/examples/{built} "))
    );
    let args: Vec<String> = serde_json::from_str(line("CMD ")).unwrap();
    // On a free port.
    let args: Vec<_> = args.iter().map(|arg| arg.replace("0.0.0.0:8080", "127.0.0.1:0")).collect();
    let args: Vec<_> = args.iter().map(|arg| &**arg).collect();
    let example = Example::start_with(built, &args);
    connect(Dial::new(format!("ws://{}/ws", example.address()))).await;
}

#[tokio::test]
async fn request_data_is_available_in_handlers() {
    for adapter in ["axum", "hyper", "warp"] {
        let example = Example::start("request_data", &["--adapter", adapter]);
        let dial = example.dial("/7?page=2&tag=a&tag=b").header("cookie", "theme=dark");
        assert_eq!(
            text(&connect(dial).await).await,
            r#"user ann, room 7, page 2, theme dark, tags ["a", "b"], from Some(127.0.0.1)"#
        );
        let conn = connect(example.dial("/7")).await;
        assert!(text(&conn).await.contains("page 1, theme light, tags []"), "{adapter}");
    }
}

#[tokio::test]
async fn auth_cookie_accepts_users_with_a_session() {
    let example = Example::start("auth_cookie", &[]);
    assert_eq!(status(example.dial("/")).await, 401);
    assert_eq!(status(example.dial("/").header("cookie", "session=guessed")).await, 401);
    let conn = connect(example.dial("/").header("cookie", "a=b; session=s3cret")).await;
    assert_eq!(text(&conn).await, "Hello, ann!");
}

#[tokio::test]
async fn login_hub_serves_users_behind_a_proxy_within_limits() {
    let example = Example::start("login_hub", &[]);
    let dial = |cookie: &str| {
        Dial::new(format!("ws://{}/ws", example.address()))
            .header("cookie", cookie)
            .header("x-forwarded-for", "192.0.2.7")
            .header("x-forwarded-host", "chat.example.com")
            .origin("https://chat.example.com")
    };
    assert_eq!(status(dial("session=guessed")).await, 401);

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let login = async |name: &'static str| {
        in_time(client.post(format!("{}/login", example.url)).body(name).send()).await.unwrap()
    };
    assert_eq!(login("").await.status(), 400);
    let answer = login("Ann").await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    let (session, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");

    let devices = [connect(dial(session)).await, connect(dial(session)).await];
    let last = connect(dial(session)).await;
    // Members join before they receive, and the last one receives what it says itself.
    last.write(r#"{"event":"say","data":"hello"}"#).await.unwrap();
    assert_eq!(text(&last).await, r#"{"event":"said","data":["Ann","hello"]}"#);
    for device in devices {
        assert_eq!(text(&device).await, r#"{"event":"said","data":["Ann","hello"]}"#);
    }
}

/// The cookie of a user of `login_hub`.
async fn log_in(example: &Example, name: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let login = client.post(format!("http://{}/login", example.address())).body(name.to_owned());
    let answer = in_time(login.send()).await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn login_hub_limits_the_devices_of_a_user() {
    let example = Example::start("login_hub", &[]);
    let session = log_in(&example, "Ann").await;
    let dial = || {
        let dial = Dial::new(format!("ws://{}/ws", example.address()));
        dial.header("cookie", &*session)
    };
    let devices = [connect(dial()).await, connect(dial()).await, connect(dial()).await];
    assert_eq!(status(dial()).await, 429);
    drop(devices);
}

#[tokio::test]
async fn whitelist_accepts_only_the_listed_addresses() {
    let example = Example::start("whitelist", &["192.0.2.1", "127.0.0.1"]);
    assert_eq!(text(&connect(example.dial("/")).await).await, "welcome");
    let example = Example::start("whitelist", &["192.0.2.1"]);
    assert_eq!(status(example.dial("/")).await, 403);
}

#[tokio::test]
async fn cross_origin_accepts_only_allowed_origins() {
    let example = Example::start("cross_origin", &[]);
    let dial = |path| example.dial(path).origin("https://a.example.com");
    for path in ["/partners", "/public"] {
        assert_eq!(text(&connect(dial(path)).await).await, "welcome", "{path}");
    }
    for path in ["/same-host", "/browsers"] {
        assert_eq!(status(dial(path)).await, 403, "{path}");
    }
    assert_eq!(text(&connect(example.dial("/same-host")).await).await, "welcome");
    assert_eq!(status(example.dial("/browsers")).await, 403);
}

#[tokio::test]
async fn write_only_sends_answers_pings_and_rejects_messages() {
    let example = Example::start("write_only", &[]);
    let conn = connect(example.dial("/")).await;
    assert_eq!(text(&conn).await, "0");
    in_time(conn.ping()).await.unwrap();
    conn.write("a message").await.unwrap();
    let error = in_time(async {
        loop {
            if let Err(error) = conn.read().await {
                return error;
            }
        }
    });
    assert_eq!(error.await.close_status(), Some(StatusCode::POLICY_VIOLATION));
}

#[tokio::test]
async fn graceful_shutdown_closes_with_1001() {
    let mut example = Example::start("graceful_shutdown", &[]);
    let conn = connect(example.dial("/")).await;
    conn.write("hello").await.unwrap();
    assert_eq!(text(&conn).await, "hello");
    example.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let error = in_time(conn.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    let mut line = String::new();
    example.output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "1 notified, 0 aborted, 0 left");
    assert!(example.child.wait().unwrap().success());
}

#[tokio::test]
async fn http2_serves_several_websockets_on_one_connection() {
    let example = Example::start("http2", &[]);
    in_time(async {
        let io = TcpStream::connect(example.url.strip_prefix("ws://").unwrap()).await.unwrap();
        let (mut client, conn) =
            http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(io))
                .await
                .unwrap();
        while !conn.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        tokio::spawn(conn);
        let mut conns = Vec::new();
        for _ in 0..3 {
            let compression = Compression::no_context_takeover();
            let offer = Offer::new([""; 0], compression).unwrap();
            let mut request = Request::connect("http://localhost/").version(Version::HTTP_2);
            request.headers_mut().unwrap().extend(offer.connect_headers());
            let request = request.extension(Protocol::from_static("websocket"));
            let response = client.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
            let negotiated = offer.verify(&response).unwrap();
            let io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
            let config = Config::new().compression(compression);
            conns.push(Conn::from_stream(io, Role::Client, negotiated, Bytes::new(), config));
        }
        for (number, conn) in conns.iter().enumerate() {
            assert!(conn.is_compressed());
            conn.write(format!("{number} and more").repeat(100)).await.unwrap();
        }
        for (number, conn) in conns.iter().enumerate() {
            assert_eq!(text(conn).await, format!("{number} and more").repeat(100));
        }
    })
    .await;
}

#[tokio::test]
async fn broadcast_sends_to_everyone() {
    let example = Example::start("broadcast", &[]);
    let (ann, bob) = (connect(example.dial("/")).await, connect(example.dial("/")).await);
    // Wait until both have joined.
    for client in [&ann, &bob] {
        client.write("in").await.unwrap();
        assert_eq!(text(client).await, "in");
    }
    bob.write("hello").await.unwrap();
    while text(&ann).await != "hello" {}
    while text(&bob).await != "hello" {}
}

#[tokio::test]
async fn groups_receive_each_message_once() {
    let example = Example::start("groups", &[]);
    let blue = connect(example.dial("/blue")).await;
    let both = connect(example.dial("/red,blue")).await;
    let other = connect(example.dial("/red,blue")).await;
    // The pong arrives after the events before the ping were handled.
    for client in [&blue, &both, &other] {
        client.ping().await.unwrap();
    }
    other.write("to red and blue").await.unwrap();
    other.ping().await.unwrap();
    blue.write("to blue").await.unwrap();
    assert_eq!(text(&both).await, "to red and blue");
    assert_eq!(text(&both).await, "to blue");
    assert_eq!(text(&other).await, "to blue");
    assert_eq!(text(&blue).await, "to red and blue");
}

#[tokio::test]
async fn rtt_sends_all_times_to_all_clients() {
    let example = Example::start("rtt", &[]);
    let (ann, bob) = (connect(example.dial("/")).await, connect(example.dial("/")).await);
    let reading = tokio::spawn(async move {
        loop {
            text(&bob).await;
        }
    });
    let mut known = std::collections::BTreeSet::new();
    while known.len() < 2 {
        let line = text(&ann).await;
        assert!(line.starts_with(r#"{"event":"rtt","data":[""#), "{line}");
        known.insert(line.split('"').nth(7).unwrap().to_owned());
    }
    reading.abort();
}

#[cfg(unix)]
#[tokio::test]
async fn dashboard_sends_statistics_and_shuts_down() {
    let mut example = Example::start("dashboard", &[]);
    let ann = connect(example.dial("/")).await;
    while !text(&ann).await.starts_with(r#"{"event":"stats","data":{"sockets":1,"rooms":1,"#) {}
    assert!(program::signal("INT", example.child.id()));
    assert_eq!(end(&ann).await, Some(StatusCode::GOING_AWAY));
    let mut line = String::new();
    example.output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "1 notified, 0 aborted, 0 remaining");
    assert!(example.child.wait().unwrap().success());
}

/// Reads to the end of the connection, and returns the close code of the server.
#[cfg(unix)]
async fn end(conn: &Conn) -> Option<StatusCode> {
    in_time(async {
        loop {
            if let Err(error) = conn.read().await {
                return error.close_status();
            }
        }
    })
    .await
}

/// The events that only a hub fires.
const LIFECYCLE: [&str; 9] = [
    "connect",
    "message",
    "ping",
    "pong",
    "close",
    "disconnect",
    "error",
    "room_join",
    "room_leave",
];

#[tokio::test]
async fn gofiber_chat_greets_forwards_messages_and_fires_events() {
    let mut example = Example::start("gofiber_chat", &[]);
    let ann = connect(example.dial("/ws/ann")).await;
    let hello = text(&ann).await;
    let id = hello.strip_prefix("Hello user: ann with UUID: ").unwrap();
    assert_eq!(id.len(), 36);
    let bob = connect(example.dial("/ws/bob")).await;
    let hello = text(&bob).await;
    let id = hello.strip_prefix("Hello user: bob with UUID: ").unwrap();
    assert_eq!(text(&ann).await, format!("New user connected: bob and UUID: {id}"));
    let message = r#"{"data":"hi","from":"bob","to":"ann","event":"CUSTOM_EVENT"}"#;
    bob.write(message).await.unwrap();
    // Forwarded unchanged.
    assert_eq!(text(&ann).await, message);
    bob.write(r#"{"data":"hi","from":"bob","to":"eve"}"#).await.unwrap();
    bob.write("no letter").await.unwrap();
    // A peer cannot fire the events of the hub.
    for event in LIFECYCLE {
        let message = format!(r#"{{"data":"hi","to":"ann","event":"{event}"}}"#);
        bob.write(message).await.unwrap();
    }
    bob.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    assert_eq!(text(&ann).await, "User left: bob");
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.starts_with("disconnect bob")) {
        let mut line = String::new();
        example.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{said:?}");
        said.push(line.trim().to_owned());
    }
    assert!(said.contains(&"event CUSTOM_EVENT of bob".to_owned()), "{said:?}");
    for error in ["no socket has the id eve", "the data of `message` is not what"] {
        assert!(said.iter().any(|line| line.starts_with(&format!("error of bob: {error}"))));
    }
    let refused = said.iter().filter(|line| line.contains("a peer may not fire `"));
    assert_eq!(refused.count(), LIFECYCLE.len(), "{said:?}");
    for event in ["connect", "close", "disconnect"] {
        let fired = said.iter().filter(|line| line.starts_with(&format!("{event} bob")));
        // `close` only if the server closed.
        assert_eq!(fired.count(), usize::from(event != "close"), "{event}: {said:?}");
    }
}

/// A line break and a control sequence in a user's name, in a recipient and in the body of a refusal.
#[tokio::test]
async fn text_of_peers_is_escaped_in_the_output() {
    let mut example = Example::start("gofiber_chat", &[]);
    let conn = connect(example.dial("/ws/e%0aERROR%1b%5b31m")).await;
    conn.write(r#"{"data":"hi","to":"a\nERROR\u001b[31m","event":"b\nERROR"}"#).await.unwrap();
    in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
    let mut said = String::new();
    while !said.contains("disconnect") {
        assert_ne!(example.output.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let name = r"e\nERROR\u{1b}[31m";
    for line in [
        format!("connect {name}\n"),
        format!(r"message from {name} to a\nERROR\u{{1b}}[31m") + "\n",
        format!("disconnect {name}: "),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!said.contains('\x1b') && !said.contains("\nERROR"), "{said}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut command = tokio::process::Command::new(program("dial"));
    let command = command.arg(url).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (mut stream, _) = in_time(listener.accept()).await.unwrap();
    let response = "HTTP/1.1 403 Forbidden\r\ncontent-length: 14\r\n\r\nno\nERROR\x1b[31m.";
    stream.write_all(response.as_bytes()).await.unwrap();
    let output = in_time(command.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(r"no ERROR\u{1b}[31m."), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn dial_prints_no_secret() {
    let mut command = tokio::process::Command::new(program("dial"));
    command.arg("ws://ann:s3cret@127.0.0.1:1/?token=s3cret").kill_on_drop(true);
    let said = String::from_utf8(in_time(command.output()).await.unwrap().stderr).unwrap();
    assert!(said.contains("failed to connect to ws://"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn blocking_sends_each_line_and_prints_the_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut command = tokio::process::Command::new(program("blocking"));
    command.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\n").await.unwrap();
    let (stream, _) = in_time(listener.accept()).await.unwrap();
    let conn = in_time(Acceptor::new(&AcceptOptions::new()).accept(stream)).await.unwrap();
    for expected in ["a", "b"] {
        assert_eq!(text(&conn).await, expected);
        conn.write(format!("not {expected}")).await.unwrap();
    }
    assert!(in_time(conn.read()).await.unwrap_err().is_normal_close());
    let output = in_time(child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "not a\nnot b\n");
}

#[tokio::test]
async fn reconnect_subscribes_and_resends_after_a_loss() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut child = tokio::process::Command::new(program("reconnect"));
    let mut child = child.arg(url).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let accept = async || {
        let (stream, _) = in_time(listener.accept()).await.unwrap();
        let conn = in_time(Acceptor::new(&AcceptOptions::new()).accept(stream)).await.unwrap();
        assert_eq!(text(&conn).await, "subscribe to the news");
        conn
    };
    let conn = accept().await;
    assert_eq!(text(&conn).await, "hello");
    conn.close_now();
    let conn = accept().await;
    // Sent again, because no pong has confirmed it.
    assert_eq!(text(&conn).await, "hello");
    conn.write("news").await.unwrap();
    in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
    let mut said = String::new();
    let mut output = child.stdout.take().unwrap();
    in_time(tokio::io::AsyncReadExt::read_to_string(&mut output, &mut said)).await.unwrap();
    assert!(in_time(child.wait()).await.unwrap().success());
    let lines: Vec<_> = said.lines().collect();
    let [first, lost, again, news] = lines[..] else { panic!("{said}") };
    assert_eq!([first, again, news], ["connected", "connected", "news"]);
    assert!(
        lost.starts_with("the connection ended without a close frame (1006)")
            && lost.contains("; retrying in "),
        "{lost}"
    );
}

/// What an example does with a client.
#[cfg(unix)]
#[derive(Clone, Copy, PartialEq)]
enum Serves {
    /// The connection stays open.
    Stays,
    /// The server greets, and closes with 1000.
    Greets,
    /// Stays, and only over HTTP/1.1.
    StaysWithoutHttp2,
}

/// Every example that is a server: its arguments, a path with the number of the client, and what it
/// does.
#[cfg(unix)]
#[rustfmt::skip]
const SERVERS: [(&str, &[&str], &str, Serves); 28] = {
    use Serves::{Greets, Stays, StaysWithoutHttp2};
    const LISTEN: &str = "--listen=127.0.0.1:0";
    [
        ("admin", &[LISTEN, "--admin-port=0"], "/ws?room=red", Stays),
        ("auth_cookie", &[LISTEN], "/", Greets),
        ("broadcast", &[LISTEN], "/", Stays),
        ("chat", &[LISTEN], "/ws?name=ann", Stays),
        ("cross_origin", &[LISTEN], "/same-host", Greets),
        ("cross_origin", &[LISTEN], "/partners", Greets),
        ("dashboard", &[LISTEN], "/", Stays),
        ("echo", &[LISTEN, "--adapter", "tcp"], "/", StaysWithoutHttp2),
        ("echo", &[LISTEN, "--adapter", "hyper"], "/", Stays),
        ("echo", &[LISTEN, "--adapter", "axum"], "/", Stays),
        ("echo", &[LISTEN, "--adapter", "warp"], "/", Stays),
        ("echo_axum", &[LISTEN], "/", Stays),
        ("echo_hyper", &[LISTEN], "/", Stays),
        ("echo_warp", &[LISTEN], "/", Stays),
        ("gofiber_chat", &[LISTEN], "/ws/ann", Stays),
        ("graceful_shutdown", &[LISTEN], "/", Stays),
        ("groups", &[LISTEN], "/red", Stays),
        ("http2", &[LISTEN], "/", Stays),
        ("login_hub", &[LISTEN], "/ws?client=", Stays),
        ("metrics", &[LISTEN, "--metrics=127.0.0.1:0"], "/ws?client=", Stays),
        ("request_data", &[LISTEN, "--adapter=axum"], "/", Greets),
        ("request_data", &[LISTEN, "--adapter=hyper"], "/", Greets),
        ("request_data", &[LISTEN, "--adapter=warp"], "/", Greets),
        ("rtt", &[LISTEN], "/", Stays),
        ("socket_activation", &[LISTEN], "/", Stays),
        ("socketio_chat", &[LISTEN], "/ws?name=ann", Stays),
        ("whitelist", &[LISTEN, "127.0.0.1"], "/", Greets),
        ("write_only", &[LISTEN], "/", Stays),
    ]
};

/// Examples that are clients, a proxy that forwards bytes, so it has no connections of its own, and a
/// server that needs a certificate (see `tls_example.rs`).
#[cfg(unix)]
const OTHERS: [&str; 6] =
    ["autobahn_client", "blocking", "dial", "http2_bridge", "reconnect", "tls"];

#[cfg(unix)]
#[test]
fn the_table_has_every_example() {
    let folder = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut files: Vec<_> = folder
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str()?.strip_suffix(".rs").map(str::to_owned)
        })
        .chain(["admin", "chat", "metrics", "socketio_chat"].map(str::to_owned))
        .collect();
    let mut known: Vec<_> = SERVERS.iter().map(|row| row.0).chain(OTHERS).collect();
    known.sort_unstable();
    known.dedup();
    files.sort_unstable();
    assert_eq!(files, known);
}

/// `axum::serve` has no deadline for the head of a request.
#[test]
fn each_example_disconnects_a_client_that_sends_half_a_request() {
    fn check(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                check(&path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                // Neither is it called by another path.
                let imported = text
                    .lines()
                    .find(|line| line.starts_with("use axum::") && line.contains("serve"));
                assert_eq!(imported, None, "{}", path.display());
                for (index, _) in text.match_indices("axum::serve(") {
                    let is_ours = text[..index].ends_with("ws_server_");
                    let is_named = text[..index].ends_with('`');
                    assert!(is_ours || is_named, "{}", path.display());
                }
            }
        }
    }
    check(Path::new(env!("CARGO_MANIFEST_DIR")));
}

#[cfg(unix)]
#[tokio::test]
async fn each_example_has_help_and_each_server_an_address() {
    let is_server = |name| SERVERS.iter().any(|row| row.0 == name);
    let mut names: Vec<_> = SERVERS.iter().map(|row| row.0).chain(OTHERS).collect();
    names.dedup();
    for name in names {
        let mut command = tokio::process::Command::new(program(name));
        let output = in_time(command.arg("--help").kill_on_drop(true).output()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("Usage:"), "{name}: {said}");
        let has_address = said.contains("--listen <");
        assert_eq!(
            has_address,
            is_server(name) || matches!(name, "http2_bridge" | "tls"),
            "{name}: {said}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_address_that_is_in_use_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    let check = async |name: &str, args: &[&str], option: &str| {
        let mut command = tokio::process::Command::new(program(name));
        command.args(args).kill_on_drop(true);
        let output = in_time(command.output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}");
        for text in [&*format!("cannot listen on {addr}"), option, "in use"] {
            assert!(said.contains(text), "{name}: {said}");
        }
    };
    for name in ["chat", "echo", "echo_axum", "request_data", "whitelist"] {
        check(name, &["--listen", &addr], "--listen").await;
    }
    // Those that listen on two addresses.
    check("admin", &["--listen", "127.0.0.1:0", "--admin-port", &port], "--admin-port").await;
    check("metrics", &["--listen", "127.0.0.1:0", "--metrics", &addr], "--metrics").await;
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_and_sigint_drain_each_server() {
    for name in ["TERM", "INT"] {
        let mut rows = tokio::task::JoinSet::new();
        for (example, args, path, serves) in SERVERS {
            rows.spawn(check_signal(name, example, args, path, serves));
            // Not all at once, since each one takes a processor.
            if rows.len() == 4 {
                rows.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(row) = rows.join_next().await {
            row.unwrap();
        }
    }
}

/// It copies frames, so the WebSockets that are open end by themselves.
#[cfg(unix)]
#[tokio::test]
async fn the_bridge_forwards_until_a_signal_and_waits_for_no_half_of_a_head() {
    async fn check(signal: Option<&str>) {
        let server = Example::start("echo", &["--adapter", "hyper"]);
        let mut bridge = Example::start("http2_bridge", &["--to", server.address()]);
        let conn = connect(bridge.dial("/")).await;
        let mut silent = TcpStream::connect(bridge.address()).await.unwrap();
        silent.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        if let Some(name) = signal {
            assert!(program::signal(name, bridge.child.id()));
            in_time(async { while TcpStream::connect(bridge.address()).await.is_ok() {} }).await;
        }
        in_time(conn.write("still")).await.unwrap();
        assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("still"));
        let mut rest = Vec::new();
        // It is reset if the signal came before the bridge had accepted it, or had read from it.
        match in_time(silent.read_to_end(&mut rest)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert!(rest.is_empty());
        if signal.is_some() {
            let exited = tokio::task::spawn_blocking(move || bridge.child.wait().unwrap());
            assert!(in_time(exited).await.unwrap().success());
        } else {
            in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
        }
    }
    tokio::join!(check(None), check(Some("TERM")), check(Some("INT")));
}

#[cfg(unix)]
async fn check_signal(name: &str, example: &str, args: &[&str], path: &str, serves: Serves) {
    use ws_client::Dialer;
    let what = format!("{example} {args:?} {path} by {name}");
    let started = Example::start_with(example, args);
    let logs_in = example == "login_hub";
    let mut cookies = vec!["session=s3cret".to_owned(); 5];
    for (number, cookie) in cookies.iter_mut().enumerate().filter(|_| logs_in) {
        *cookie = log_in(&started, &format!("user {number}")).await;
    }
    // Names are unique in the chat. A path without a name ignores the number.
    let dial = |index: usize| {
        let number = if path.len() > 1 && serves == Serves::Stays {
            index.to_string()
        } else {
            String::new()
        };
        let path = if path == "/" && example == "request_data" { "/7" } else { path };
        let cookie = &*cookies[index];
        started.dial(&format!("{path}{number}")).header("cookie", cookie)
    };
    let mut conns = vec![connect(dial(1)).await, connect(dial(2)).await];
    if serves != Serves::StaysWithoutHttp2 {
        conns.push(connect(dial(3).dialer(&Dialer::new().http2_only())).await);
    }
    // Clients that do not send a whole request.
    let mut silent = Vec::new();
    for part in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(started.address()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, part.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    // The server has seen the silent clients, too: it accepts in order.
    drop(connect(dial(4)).await);
    if serves == Serves::Greets {
        for conn in &conns {
            assert_eq!(end(conn).await, Some(StatusCode::NORMAL_CLOSURE), "{what}");
        }
    }
    assert!(program::signal(name, started.child.id()));
    if serves != Serves::Greets {
        for conn in &conns {
            assert_eq!(end(conn).await, Some(StatusCode::GOING_AWAY), "{what}");
        }
    }
    let exited = tokio::task::spawn_blocking(move || {
        let mut started = started;
        started.child.wait().unwrap()
    });
    // The time for the drain, and for requests in progress.
    let exited = tokio::time::timeout(std::time::Duration::from_secs(20), exited).await;
    assert!(exited.unwrap_or_else(|_| panic!("{what}")).unwrap().success(), "{what}");
    drop(silent);
}
