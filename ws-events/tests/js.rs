//! Does the client for browsers and node (`js`) work with a hub?
#![cfg(test)]

#[path = "../../ws-client/wasm/tests/scenes/mod.rs"]
mod scenes;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use serde_json::{Value, json};
use ws_core::{AcceptOptions, Conn, Message, Origin, StatusCode};
use ws_events::{
    Ack, ConnectRejection, DisconnectReason, History, Hub, Json, NotConnected, Protocol, Recovery,
    Socket, State,
};

use self::scenes::{SceneServer, is_there, node, skip};

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
            let answer: Result<Value, _> = socket.emit_with_ack("question", &number).await;
            // Without an answer, there is nothing to tell.
            answer.map_or(Ok(()), |answer| socket.emit("asked", &answer))
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

/// A hub that recovers sessions within this time.
fn resumable(window: Duration) -> Hub {
    let recovery = Recovery::new().window(window);
    let hub = Hub::builder().envelope().history("room", History::new()).recovery(recovery).build();
    hub.on_connect(async |socket: Socket| {
        if !socket.recovered() {
            socket.join("room")?;
        }
        Ok::<_, NotConnected>(())
    });
    hub.on("beat", async || Json(()));
    hub.on("post", async |socket: Socket, Json(data): Json<Value>| {
        Json(socket.hub().to("room").emit("n", &data).is_ok())
    });
    // In no history.
    hub.on("tell", async |socket: Socket, Json(data): Json<Value>| {
        Json(socket.hub().emit("n", &data).is_ok())
    });
    hub.on("count", async |socket: Socket| Json(socket.hub().len()));
    hub
}

/// A server whose events are of so many rooms that no hub has them all. It says how a client asks for
/// its session.
async fn serve_many_rooms(conn: Conn) -> Result<(), ws_core::Error> {
    let asked: Value = conn.read_json().await?;
    conn.write(r#"{"session":"token","recovered":true}"#).await?;
    if asked["resume"].is_null() {
        let too_long = format!("{}-1", "x".repeat(63));
        let rooms = (0..200).map(|room| format!("room{room}-1"));
        for at in rooms.chain([too_long]) {
            conn.write_json(&json!({"event": "n", "data": 0, "at": at})).await?;
        }
        return conn.close(StatusCode::SERVICE_RESTART, "").await;
    }
    conn.write_json(&json!({"event": "asked", "data": asked})).await?;
    conn.read().await.map(drop)
}

/// The hubs, the module and the page of the scenes.
fn start(address: SocketAddr) -> SceneServer {
    // The page of one server is served by another through a proxy.
    let options = AcceptOptions::new().origin(Origin::any());
    let hub = hub();
    let websocket = ws_server_axum::websocket(options.clone(), hub.handler());
    let mut app = Router::new().route("/ws", websocket);
    for (path, window) in [("/resumable", Duration::from_secs(60)), ("/forgetful", Duration::ZERO)]
    {
        let hub = resumable(window);
        let serve = move |conn| {
            let hub = hub.clone();
            async move { hub.serve_as(conn, Protocol::Resumable).await }
        };
        app = app.route(path, ws_server_axum::websocket(options.clone(), serve));
    }
    app = app.route("/many-rooms", ws_server_axum::websocket(options, serve_many_rooms));
    for (path, kind, file) in [
        ("/", "text/html", None),
        ("/ws-events.js", "text/javascript", Some("ws-events.js")),
        ("/test/scenes.mjs", "text/javascript", Some("test/scenes.mjs")),
    ] {
        let read = |file| std::fs::read_to_string(Path::new(JS).join(file)).unwrap();
        let text = file.map_or_else(|| "<!doctype html><title>Scenes</title>".to_owned(), read);
        app = app.route(path, get(([(CONTENT_TYPE, kind)], text)));
    }
    SceneServer::start(address, app)
}

/// Runs the scenes of `js/test/scenes.mjs`.
fn check(environment: &str) {
    let script = Path::new(JS).join("test/run.mjs");
    if !is_there(PEERS, &script, environment) {
        return;
    }
    let mut server = Some(start(([127, 0, 0, 1], 0).into()));
    let address = server.as_ref().unwrap().address;
    let mut command = node(PEERS);
    command.arg(&script).args([environment, &format!("http://{address}")]);
    let errors = scenes::run(command.args(std::env::var("WS_JS_SCENE")), |command| {
        match command {
            "kill" => server.take().into_iter().for_each(SceneServer::kill),
            "start" => _ = server.get_or_insert_with(|| start(address)),
            other => panic!("{other}"),
        }
        "done".to_owned()
    });
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
    let checked = node(PEERS)
        .arg(compiler)
        .args(["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"])
        .args(["--lib", "es2022,dom", "test/types.ts"])
        .current_dir(JS)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
