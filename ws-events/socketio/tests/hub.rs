//! Does the official client of Socket.IO work with a hub, with its default options, on node and in a page?

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{FRAMEWORKS, Framework, Server, client, page};
use futures::future::join;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use ws_core::StatusCode;
use ws_events::{
    AckError, Attribute, Bytes, ConnectRejection, EmitError, Hub, Json, Overflow, SendQueueLimits,
    Socket, State,
};
use ws_events_socketio::{AcceptOptions, EngineConfig, Origin, SocketIo};

/// The timeout for all steps of a client.
const PATIENCE: Duration = Duration::from_secs(100);

/// What a client has noted.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

/// What the clients expect of a server.
fn hub(proxy: &Proxy) -> Hub {
    let limits = SendQueueLimits::new().messages(1000).overflow(Overflow::Block(PATIENCE));
    let hub = Hub::builder().send_queue(limits).state(proxy.clone()).build();
    hub.on_connect(async |socket: Socket| -> Result<(), String> {
        let auth: Value = socket.auth().map_err(|error| error.to_string())?;
        let request = socket.request().ok_or("no request")?;
        let version = request.query("EIO").unwrap_or_default().into_owned();
        socket.attributes().insert(Notes::default());
        socket.emit("welcome", &(auth, version)).map_err(|error| error.to_string())
    });
    type Range = Json<(u32, u32)>;
    hub.on("burst", async |socket: Socket, Json((from, to)): Range, State(proxy): State<Proxy>| {
        for n in from..to {
            if n == UPGRADE_AT {
                proxy.upgrades.send_replace(true);
            }
            socket.emit_wait("n", &n).await?;
        }
        Ok::<_, EmitError>(())
    });
    hub.on("note", async |Attribute(notes): Attribute<Notes>, Json(note): Json<String>| {
        notes.0.lock().unwrap().push(note);
    });
    hub.on("notes", async |Attribute(notes): Attribute<Notes>| {
        Json(notes.0.lock().unwrap().clone())
    });
    // As many volatile events as fit into the send queue.
    hub.on("flood", async |socket: Socket| -> Result<(), EmitError> {
        let id = socket.id();
        let (mut queued, mut dropped) = (0_u32, 0);
        while dropped == 0 {
            let sent = socket.hub().ids([id.clone()]).volatile().emit("v", &queued)?;
            (queued, dropped) = (queued + u32::from(sent.queued == 1), sent.dropped);
        }
        socket.emit_wait("flooded", &(queued, dropped)).await
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
    hub.on("ask in time", async |socket: Socket, Json(n): Json<u32>| -> Result<String, AckError> {
        let asking = socket.emit_with_ack("question", &n).timeout(PATIENCE);
        let (n, text): (u32, String) = asking.await?;
        Ok(format!("{n} {text}"))
    });
    hub.on("ask for nothing", async |socket: Socket| {
        let asking = socket.emit_with_ack::<Value, _>("ignored", &1);
        match asking.timeout(Duration::from_millis(100)).await {
            Err(AckError::Timeout) => Json("no answer in time".to_owned()),
            other => Json(format!("{other:?}")),
        }
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
    hub.on("close session", async |socket: Socket, Json(code): Json<u16>| {
        socket.close_session(StatusCode::try_from(code).unwrap(), "")
    });
    let admin = hub.of("/admin");
    admin.middleware(async |socket: Socket| match socket.auth::<Value>() {
        Ok(auth) if auth["token"] == "right" => Ok(()),
        _ => Err(ConnectRejection::new("a token is required").data(&json!({ "code": 7 }))),
    });
    admin.on("where", async |socket: Socket| Json(socket.hub().namespace().to_owned()));
    hub
}

/// When a WebSocket is let through. With a queue of 1,000, the client has by then sent a GET after it has
/// read at least 1,000 numbers by polling.
const UPGRADE_AT: u32 = 4000;

/// What a proxy does. `true` if it lets WebSockets through, and if it is silent.
#[derive(Clone)]
struct Proxy {
    upgrades: watch::Sender<bool>,
    silence: watch::Sender<bool>,
}

impl Proxy {
    fn new(upgrades: bool) -> Self {
        Self { upgrades: watch::Sender::new(upgrades), silence: watch::Sender::new(false) }
    }

    /// Serves a proxy of this server on a free port.
    async fn start(&self, server: Server) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.forward(client, server.addr).await });
            }
        });
        addr
    }

    async fn forward(&self, mut client: TcpStream, server: SocketAddr) {
        let mut upstream = TcpStream::connect(server).await.unwrap();
        let (mut from_server, mut to_server) = upstream.split();
        let (mut from_client, mut to_client) = client.split();
        // A browser may use the connection of an earlier request.
        let requests = async {
            let mut upgrades = self.upgrades.subscribe();
            let mut chunk = vec![0; 64 * 1024];
            loop {
                let len = from_client.read(&mut chunk).await?;
                if len == 0 {
                    return to_server.shutdown().await;
                }
                if String::from_utf8_lossy(&chunk[..len]).contains("&transport=websocket") {
                    upgrades.wait_for(|lets_through| *lets_through).await.unwrap();
                }
                to_server.write_all(&chunk[..len]).await?;
            }
        };
        let responses = async {
            copy(&mut from_server, &mut to_client).await?;
            to_client.shutdown().await
        };
        let mut silence = self.silence.subscribe();
        let is_silent = tokio::select! {
            _ = join(requests, responses) => false,
            silent = silence.wait_for(|is_silent| *is_silent) => silent.is_ok(),
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
    }
}

/// The URL of a server with a small send queue and a short heartbeat, for pages of any origin, behind a
/// proxy that a client can silence: then nothing passes, and the connections stay open.
async fn second_server() -> String {
    let proxy = Proxy::new(true);
    let limits = SendQueueLimits::new().messages(4);
    let hub = Hub::builder().send_queue(limits).state(proxy.clone()).build();
    hub.on(
        "flood",
        async |socket: Socket| {
            while socket.emit("more", &"x".repeat(10_000)).is_ok() {}
        },
    );
    hub.on("silence", async |State(proxy): State<Proxy>| _ = proxy.silence.send_replace(true));
    let config = EngineConfig::new().ping_interval(Duration::from_secs(1));
    let config = config.ping_timeout(Duration::from_secs(1));
    let socketio = SocketIo::new(&hub).config(config);
    let socketio = socketio.options(AcceptOptions::new().origin(Origin::any()));
    let server = Server::start_at(Framework::Hyper, socketio, "/socket.io/").await;
    format!("http://{}", proxy.start(server).await)
}

/// The URL of a server with the [`hub`].
async fn first_server(framework: Framework) -> String {
    let proxy = Proxy::new(false);
    let server = Server::start_at(framework, SocketIo::new(&hub(&proxy)), "/socket.io/").await;
    format!("http://{}", proxy.start(server).await)
}

#[test]
fn a_check_names_the_service_until_it_is_made() {
    let hub = Hub::new();
    hub.on("say", async || {});
    assert!(hub.check().unwrap_err().to_string().contains("`SocketIo` service"));
    let _socketio = SocketIo::new(&hub);
    hub.check().unwrap();
}

/// In Chromium, from a page of the server.
#[tokio::test]
async fn the_javascript_client_works_in_a_page_with_its_default_options() {
    let url = first_server(Framework::Axum).await;
    let arguments = json!({ "second": second_server().await });
    let running = page("steps.mjs", &url, &arguments);
    let Some(report) = timeout(PATIENCE, running).await.expect("it takes too long") else { return };
    assert_eq!(report, expected_report());
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
    let urls = [first_server(framework).await, second_server().await];
    let arguments: Vec<_> = urls.into_iter().chain(parser.map(str::to_owned)).collect();
    let running = client("node", "socketio.mjs", &arguments);
    let report = timeout(PATIENCE, running).await.expect("it takes too long");
    let Some(report) = report else { return };
    assert_eq!(report, expected_report(), "{framework:?}");
}

/// What a client reports at the end of its steps.
fn expected_report() -> Value {
    json!({
        "first": "polling",
        "welcome": [{ "user": "ann" }, "4"],
        "then": "websocket",
        "burst": 10000,
        "ordered": true,
        "byBoth": true,
        "double": 42,
        "late": "operation has timed out",
        "inTime": 8,
        "asked": "2 yes",
        "askedInTime": "3 yes",
        "unanswered": "no answer in time",
        "notes": ["early", "volatile and connected"],
        "volatile": [true, true, 1],
        "binary": [[0, 255], 7],
        "message": b"hello",
        "sent": "got it",
        "dates": r#"{"date":"2024-02-29T12:34:56.789Z","early":["-000001-12-31T23:59:59.999Z"],"late":"+010000-01-01T00:00:00.000Z"}"#,
        "refused": ["a token is required", { "code": 7 }],
        "admin": "/admin",
        "shared": true,
        "unknown": "Invalid namespace",
        "left": "io client disconnect",
        // The reason, and whether the client connects again by itself.
        "kicked": ["io server disconnect", false],
        "drained": ["transport close", true],
        "sessionClosed": ["io server disconnect", false],
        "sessionDrained": ["transport close", true],
        "malformed": ["transport close", true],
        "slow": ["transport close", true],
        "silent": ["ping timeout", true],
    })
}
