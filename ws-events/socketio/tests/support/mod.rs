//! How do tests serve sessions by each framework, send requests to them, and run other clients?
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tower_layer::Layer as _;
use warp::Filter as _;
use ws_client::Dial;
use ws_core::{Conn, Message, PreparedMessage};
use ws_events::engine::EngineSession;
use ws_events_socketio::SocketIo;
use ws_server_axum::nested;

use self::raw_http2::RawHttp2;

#[path = "../../../../examples/tests/adapters/raw_http2.rs"]
pub(crate) mod raw_http2;

/// What a raw client of HTTP/2 is connected with.
type Stream = Box<DuplexStream>;

/// Longer than everything that a test waits for.
pub(crate) const FOREVER: Duration = Duration::from_secs(60);

/// The frameworks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framework {
    Hyper,
    Axum,
    Warp,
}

pub(crate) const FRAMEWORKS: [Framework; 3] = [Framework::Hyper, Framework::Axum, Framework::Warp];

/// A server on a free port, at `/engine.io/`. It ends with the runtime of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) framework: Framework,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Server {
    pub(crate) async fn start(framework: Framework, socketio: SocketIo) -> Self {
        Self::start_at(framework, socketio, "/engine.io/").await
    }

    /// A server at this path.
    pub(crate) async fn start_at(framework: Framework, socketio: SocketIo, path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        match framework {
            Framework::Hyper => drop(tokio::spawn(ws_server_hyper::serve(listener, socketio))),
            Framework::Axum => {
                let app = Router::new().nest_service(path, nested(socketio));
                drop(tokio::spawn(ws_server_axum::serve(listener, app)));
            }
            Framework::Warp => {
                let routes = warp::path!("hello").map(|| "hello");
                let service = socketio.at(path).layer(warp::service(routes));
                drop(tokio::spawn(ws_server_warp::serve(listener, service)));
            }
        }
        Self { addr, framework }
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        within(async {
            let stream = TcpStream::connect(self.addr).await.unwrap();
            let (mut sender, conn) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let conn = tokio::spawn(conn);
            let response = sender.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            conn.abort();
            let body = String::from_utf8(body.to_vec()).unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        })
        .await
    }

    /// Sends the bytes of a request over HTTP/1, and returns the status of its answer.
    pub(crate) async fn status(&self, request: &str) -> u16 {
        let status = async {
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while answer.len() < 12 && stream.read_buf(&mut answer).await.unwrap() > 0 {}
            let status = answer.get(9..12).unwrap_or_else(|| panic!("no answer to {request:?}"));
            std::str::from_utf8(status).unwrap().parse().unwrap()
        };
        within(status).await
    }

    /// A connection of HTTP/2 that is spoken by hand.
    pub(crate) async fn raw_http2(&self) -> RawHttp2 {
        let addr = self.addr;
        RawHttp2::connect(|mut io| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                // It ends with one of the two.
                let _ = copy_bidirectional(&mut io, &mut stream).await;
            });
        })
        .await
    }

    pub(crate) fn builder(&self, method: Method, query: &str) -> http::request::Builder {
        let uri = format!("/engine.io/?{query}");
        Request::builder().method(method).uri(uri).header("host", self.addr.to_string())
    }

    pub(crate) async fn get(&self, query: &str) -> Answer {
        let request = self.builder(Method::GET, query).body(Full::default());
        self.request(request.unwrap()).await
    }

    pub(crate) async fn post(&self, query: &str, body: &str) -> Answer {
        let body = Full::from(body.to_owned());
        self.request(self.builder(Method::POST, query).body(body).unwrap()).await
    }

    /// Opens a session that polls, and returns the query of its requests.
    pub(crate) async fn open_polling(&self) -> String {
        let answer = self.get("EIO=4&transport=polling").await;
        let open: Value = serde_json::from_str(&answer.body[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap();
        format!("EIO=4&transport=polling&sid={sid}")
    }

    pub(crate) async fn websocket(&self, query: &str) -> Conn {
        let url = format!("ws://{}/engine.io/?{query}", self.addr);
        within(Dial::new(url).connect()).await.unwrap()
    }

    /// Opens a WebSocket for the session that a query of polling names.
    pub(crate) async fn upgrading(&self, polling: &str) -> Conn {
        self.websocket(&polling.replace("polling", "websocket")).await
    }
}

/// Waits for what must come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(FOREVER, future).await.expect("it takes too long")
}

pub(crate) async fn read(conn: &Conn) -> Message {
    within(conn.read()).await.unwrap()
}

pub(crate) async fn write(conn: &Conn, text: &str) {
    within(conn.write(text)).await.unwrap();
}

/// Sends all messages of a session back: those that have arrived together in one body.
pub(crate) async fn echo(session: EngineSession) {
    let mut queue = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            message = session.receive() => {
                let Some(message) = message else { return };
                let message = match message.as_text() {
                    Some(text) => Message::text(format!("4{text}")),
                    None => message,
                };
                queue.push_back(PreparedMessage::new(message));
            }
            written = session.write_batch(|_| queue.pop_front()), if !queue.is_empty() => {
                if written.is_err() {
                    return;
                }
            }
        }
    }
}

/// The command that runs a client. `None` if the client is not installed.
pub(crate) async fn command(program: &str, script: &str, arguments: &[String]) -> Option<Command> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let probe = match program {
        "node" => [
            "--input-type=module",
            "-e",
            "import 'socket.io-client'; import 'socket.io-msgpack-parser'",
        ]
        .as_slice(),
        _ => &["-c", "import socketio, requests, websocket"],
    };
    let probed = Command::new(program).args(probe).current_dir(&peers).output().await;
    if !probed.is_ok_and(|output| output.status.success()) {
        report_missing(&format!("{program} misses the packages of {script}"));
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script).args(arguments).current_dir(&peers);
    command.stderr(Stdio::inherit()).kill_on_drop(true);
    Some(command)
}

/// The command that runs the steps of a module in a page of Chromium. `None` if that is not installed.
pub(crate) async fn page_command(module: &str, url: &str, arguments: &Value) -> Option<Command> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let probe = Command::new("node").args(["page.mjs", "--version"]).current_dir(&peers).output();
    if !probe.await.is_ok_and(|output| output.status.success()) {
        report_missing("Chromium, or `playwright-core` of ws-client/tests/peers, is missing");
        return None;
    }
    command("node", "page.mjs", &[module.to_owned(), url.to_owned(), arguments.to_string()]).await
}

/// A test is skipped, or fails if peers are required.
fn report_missing(what: &str) {
    let is_required = std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!is_required, "{what}");
    // Not with `println!`, whose output is captured when a test passes.
    let missing = format!("{what}: see CONTRIBUTING.md\n1 interop tests not run");
    writeln!(std::io::stdout(), "{missing}").unwrap();
}

/// Runs a client, and returns its report. `None` if the client is not installed. It is killed on drop.
pub(crate) async fn client(program: &str, script: &str, arguments: &[String]) -> Option<Value> {
    let command = command(program, script, arguments).await?;
    Some(run(command, script).await)
}

/// As [`client`], for the official client in a page of Chromium.
pub(crate) async fn page(module: &str, url: &str, arguments: &Value) -> Option<Value> {
    let command = page_command(module, url, arguments).await?;
    Some(run(command, module).await)
}

/// As [`client`], for the client in Rust.
pub(crate) async fn rust_client(arguments: &[String]) -> Option<Value> {
    let name = "rust-socketio-client";
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers-rust/debug");
    let program = program.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        report_missing(&format!("{name} is not built"));
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::inherit()).kill_on_drop(true);
    Some(run(command, name).await)
}

/// The report of a client.
async fn run(mut command: Command, name: &str) -> Value {
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
