//! Does each example work?
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Foreign;
use ws_client::{Config, Conn, Dial, DialError, StatusCode};
use ws_core::Acceptor;
use ws_core::handshake::Offer;
use ws_core::{AcceptOptions, Compression, Role};

/// A running example. Dropping this stops it.
struct Example {
    child: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Example {
    /// Starts an example that prints its address.
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.arg("127.0.0.1:0").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, output, url }
    }

    fn dial(&self, path: &str) -> Dial {
        Dial::new(format!("{}{path}", self.url))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of an example's binary, which cargo builds with the tests.
fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

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

#[tokio::test]
async fn request_data_is_available_in_handlers() {
    for adapter in ["axum", "hyper", "warp"] {
        let example = Example::start("request_data", &[adapter]);
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
    let interrupt = format!("kill -INT {}", example.child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let ended = loop {
        if let Err(error) = in_time(ann.read()).await {
            break error;
        }
    };
    assert_eq!(ended.close_status(), Some(StatusCode::GOING_AWAY));
    let mut line = String::new();
    example.output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "1 notified, 0 aborted, 0 remaining");
    assert!(example.child.wait().unwrap().success());
}

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
    bob.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    assert_eq!(text(&ann).await, "User left: bob");
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.starts_with("disconnect bob")) {
        let mut line = String::new();
        example.output.read_line(&mut line).unwrap();
        said.push(line.trim().to_owned());
    }
    assert!(said.contains(&"event CUSTOM_EVENT of bob".to_owned()), "{said:?}");
    for error in ["no socket has the id eve", "the data of `message` is not what"] {
        assert!(said.iter().any(|line| line.starts_with(&format!("error of bob: {error}"))));
    }
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
        lost.starts_with("the connection was lost: ") && lost.contains("; retrying in "),
        "{lost}"
    );
}
