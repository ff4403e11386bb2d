//! Do the official clients of Socket.IO work with a hub, with their default options?

use std::time::Duration;

use crate::support::{FRAMEWORKS, Framework, Server, client};
use serde_json::{Value, json};
use tokio::time::timeout;
use ws_core::StatusCode;
use ws_events::{
    AckError, Bytes, ConnectRejection, EmitError, Hub, Json, Overflow, SendQueueLimits, Socket,
};
use ws_events_socketio::SocketIo;

/// The timeout for all steps of a client.
const PATIENCE: Duration = Duration::from_secs(100);

/// What the clients expect of a server.
fn hub() -> Hub {
    let limits = SendQueueLimits::new().overflow(Overflow::Block(PATIENCE));
    let hub = Hub::builder().send_queue(limits).build();
    hub.on_connect(async |socket: Socket| -> Result<(), String> {
        let auth: Value = socket.auth().map_err(|error| error.to_string())?;
        let request = socket.request().ok_or("no request")?;
        let version = request.query("EIO").unwrap_or_default().into_owned();
        socket.emit("welcome", &(auth, version)).map_err(|error| error.to_string())
    });
    hub.on("burst", async |socket: Socket, Json(count): Json<u32>| -> Result<(), EmitError> {
        for n in 0..count {
            socket.emit_wait("n", &n).await?;
        }
        Ok(())
    });
    hub.on("double", async |Json(n): Json<u32>| Json(2 * n));
    hub.on("never", async |ack: ws_events::Ack| {
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await; // tidy: sleep is the subject
            drop(ack);
        });
    });
    hub.on("ask", async |socket: Socket, Json(n): Json<u32>| -> Result<String, AckError> {
        let (n, text): (u32, String) = socket.emit_with_ack("question", &n).await?;
        Ok(format!("{n} {text}"))
    });
    hub.on("echo", async |Json(args): Json<(Bytes, u32)>| Json(args));
    // A text of JSON.
    hub.on("json", async |text: String| Json(text));
    hub.on_message(async |socket: Socket, text: String| {
        socket.send(Bytes::from(text))?;
        Ok::<_, EmitError>("got it")
    });
    hub.on("kick", async |socket: Socket| socket.close(StatusCode::POLICY_VIOLATION, ""));
    hub.on("drain", async |socket: Socket| socket.close(StatusCode::GOING_AWAY, ""));
    let admin = hub.of("/admin");
    admin.middleware(async |socket: Socket| match socket.auth::<Value>() {
        Ok(auth) if auth["token"] == "right" => Ok(()),
        _ => Err(ConnectRejection::new("a token is required").data(&json!({ "code": 7 }))),
    });
    admin.on("where", async |socket: Socket| Json(socket.hub().namespace().to_owned()));
    hub
}

#[tokio::test]
async fn the_javascript_client_works_with_its_default_options() {
    for framework in FRAMEWORKS {
        check_javascript_client(framework, None).await;
    }
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn the_javascript_client_works_with_msgpack() {
    check_javascript_client(Framework::Axum, Some("msgpack")).await;
}

async fn check_javascript_client(framework: Framework, parser: Option<&str>) {
    let socketio = SocketIo::new(&hub());
    let server = Server::start_at(framework, socketio, "/socket.io/").await;
    let url = [format!("http://{}", server.addr)];
    let arguments: Vec<_> = url.into_iter().chain(parser.map(str::to_owned)).collect();
    let running = client("node", "socketio.mjs", &arguments);
    let report = timeout(PATIENCE, running).await.expect("it takes too long");
    let Some(report) = report else { return };
    let expected = json!({
        "first": "polling",
        "welcome": [{ "user": "ann" }, "4"],
        "then": "websocket",
        "burst": 10000,
        "ordered": true,
        "double": 42,
        "late": "operation has timed out",
        "asked": "2 yes",
        "binary": [[0, 255], 7],
        "message": b"hello",
        "sent": "got it",
        "dates": r#"{"date":"2024-02-29T12:34:56.789Z","early":["-000001-12-31T23:59:59.999Z"],"late":"+010000-01-01T00:00:00.000Z"}"#,
        "refused": ["a token is required", { "code": 7 }],
        "admin": "/admin",
        "shared": true,
        "unknown": "Invalid namespace",
        "left": "io client disconnect",
        "kicked": "io server disconnect",
        "active": false,
        "drained": "transport close",
        "comesBack": true,
    });
    assert_eq!(report, expected, "{framework:?}");
}
