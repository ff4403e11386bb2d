//! Does the client work in a browser, and in node? `cargo xtask wasm` builds the module.
#![cfg(test)]

mod scenes;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode as HttpStatus;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use ws_client::{Conn, Error, Limits, StatusCode};
use ws_client_wasm::{Answer, Command as BotCommand, bot};
use ws_events::{History, Hub, Protocol, Recovery, Socket};
use ws_server_axum::{AcceptOptions, Config, Origin, websocket};

use self::scenes::{SceneServer, is_there, node, skip};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers");

/// Where `cargo xtask wasm` puts the module.
fn module() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-pages")
}

/// What the scenes ask for: how the connection of a name ended, and whether a dial was dropped.
#[derive(Clone)]
struct Told {
    ends: Sender<(String, String)>,
    dropped_dials: Sender<()>,
    release: Arc<Notify>,
    flooded: Arc<AtomicUsize>,
    bots: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    echoing: watch::Sender<usize>,
    rooms: Rooms,
}

/// A hub with a history, and the connections to it.
#[derive(Clone)]
struct Rooms {
    hub: Hub,
    conns: Arc<Mutex<Vec<Conn>>>,
}

impl Rooms {
    fn new() -> Self {
        let builder = Hub::builder().envelope().history("room", History::new());
        let hub = builder.recovery(Recovery::new()).build();
        hub.on_connect(
            async |socket: Socket| {
                if socket.recovered() { Ok(()) } else { socket.join("room") }
            },
        );
        Self { hub, conns: Arc::default() }
    }

    async fn serve(self, conn: Conn) {
        self.conns.lock().unwrap().push(conn.clone());
        self.hub.serve_as(conn, Protocol::Resumable).await;
    }

    /// Waits for the only member of the room, and returns its id.
    async fn member(&self) -> String {
        loop {
            if let [socket] = &*self.hub.to("room").sockets() {
                return socket.id().to_string();
            }
            tokio::time::sleep(Duration::from_millis(1)).await; // tidy: sleep is the subject
        }
    }

    /// Sends three numbers to the room.
    fn emit(&self, first: u64) {
        (first..first + 3).for_each(|number| _ = self.hub.to("room").emit("n", &number).unwrap());
    }

    /// Loses the connections, and sends numbers before they can come back.
    fn cut(&self, first: u64) {
        self.conns.lock().unwrap().drain(..).for_each(|conn| conn.close_now());
        self.emit(first);
    }
}

/// Counts a connection until it is dropped.
struct CountOne(watch::Sender<usize>);

impl CountOne {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for CountOne {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn echo(conn: Conn, told: Told) -> Result<(), Error> {
    let _one = CountOne::new(told.echoing.clone());
    let end = loop {
        match conn.read().await {
            // A failed write means that the next read fails, too.
            Ok(message) => _ = conn.write(message).await,
            Err(Error::Closed(close)) => break close,
            Err(error) => return Err(error),
        }
    };
    let request = conn.request().unwrap();
    let name = request.query("name").unwrap_or_default().into_owned();
    let _ = told.ends.send((name, format!("{} {}", end.code.as_u16(), end.reason)));
    Ok(())
}

/// Closes with the code and the reason of the query, after a message.
async fn close(conn: Conn) -> Result<(), Error> {
    conn.write("last message").await?;
    let request = conn.request().unwrap();
    let code = request.query("code").map_or(1005, |code| code.parse().unwrap());
    let reason = request.query("reason").unwrap_or_default();
    conn.close(StatusCode::from_u16(code).unwrap(), &reason).await
}

/// Closes before it reads or writes.
async fn close_at_once(conn: Conn) -> Result<(), Error> {
    conn.close(StatusCode::SERVICE_RESTART, "too soon").await
}

/// Drops the transport after a message, without a close frame.
async fn abort(conn: Conn) -> Result<(), Error> {
    conn.read().await?;
    conn.close_now();
    Ok(())
}

/// Writes messages of 64 KiB, and then of 1 KiB, as many as the query says. Then closes with its code,
/// or drops the transport without one.
async fn write_and_end(conn: &Conn) -> Result<(), Error> {
    let request = conn.request().unwrap();
    let number = |name| request.query(name).map(|number| number.parse::<u16>().unwrap());
    for (name, length) in [("long", 64 * 1024), ("short", 1024)] {
        for _ in 0..number(name).unwrap_or_default() {
            conn.write(vec![0; length]).await?;
        }
    }
    match number("code") {
        Some(code) => conn.close(StatusCode::from_u16(code).unwrap(), "bye").await,
        None => {
            conn.flush().await?;
            conn.close_now();
            Ok(())
        }
    }
}

/// Ends each first connection behind messages, and greets on each second one.
async fn end_first(conn: Conn, told: Told) -> Result<(), Error> {
    if told.ended.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
        return write_and_end(&conn).await;
    }
    conn.write("second").await?;
    conn.closed().await;
    Ok(())
}

/// Reads nothing until it is released. Then it answers `end` with the number of messages before it.
async fn stuck(conn: Conn, told: Told) -> Result<(), Error> {
    told.release.notified().await;
    let mut count = 0;
    while conn.read().await?.as_text() != Some("end") {
        count += 1;
    }
    conn.write(format!("{count}")).await?;
    conn.closed().await;
    Ok(())
}

/// Writes a message, and never reads.
async fn deaf(conn: Conn) -> Result<(), Error> {
    conn.write("no number").await?;
    std::future::pending().await
}

/// Writes to a client that does not read, and counts what it could write.
async fn flood(conn: Conn, told: Told) -> Result<(), Error> {
    conn.read().await?;
    for _ in 0..1000 {
        conn.write(vec![0; 64 * 1024]).await?;
        told.flooded.fetch_add(1, Ordering::Relaxed);
    }
    conn.closed().await;
    Ok(())
}

/// Asks a bot for a sum on each of two connections.
async fn ask(conn: Conn, told: Told) -> Result<(), Error> {
    let Answer::Subscribe(room) = conn.read_json().await? else { panic!("no subscription") };
    assert_eq!((&*room, conn.subprotocol()), ("news", Some("bot.v1")));
    let is_first = told.bots.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    conn.write_json(&BotCommand::Add(vec![1, 2, 3])).await?;
    let Answer::Sum(6) = conn.read_json().await? else { panic!("another sum") };
    if is_first {
        return conn.close(StatusCode::SERVICE_RESTART, "").await;
    }
    conn.write_json(&BotCommand::Leave).await?;
    conn.closed().await;
    Ok(())
}

/// Notes that a request was dropped by its client.
struct NoteDrop(Sender<()>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A server, and what its handlers tell.
struct Server {
    server: SceneServer,
    ends: Receiver<(String, String)>,
    dropped_dials: Receiver<()>,
    release: Arc<Notify>,
    flooded: Arc<AtomicUsize>,
    echoing: watch::Sender<usize>,
    rooms: Rooms,
}

impl Server {
    fn start(address: SocketAddr) -> Self {
        let (end_sender, ends) = channel();
        let (drop_sender, dropped_dials) = channel();
        let release = Arc::new(Notify::new());
        let flooded = Arc::new(AtomicUsize::new(0));
        let echoing = watch::Sender::new(0);
        let rooms = Rooms::new();
        let app = app(Told {
            ends: end_sender,
            dropped_dials: drop_sender,
            release: Arc::clone(&release),
            flooded: Arc::clone(&flooded),
            bots: Arc::new(AtomicUsize::new(0)),
            ended: Arc::new(AtomicUsize::new(0)),
            echoing: echoing.clone(),
            rooms: rooms.clone(),
        });
        let server = SceneServer::start(address, app);
        Self { server, ends, dropped_dials, release, flooded, echoing, rooms }
    }

    fn kill(self) {
        self.server.kill();
    }
}

/// The modules of the page, and a route for each kind of server.
fn app(told: Told) -> Router {
    let limits = Limits::new().message_size(20 * 1024 * 1024);
    // node sends no `Origin`, and a page only that of this server.
    let options = AcceptOptions::new().origin(Origin::any()).config(Config::new().limits(limits));
    let (for_echo, for_stuck) = (told.clone(), told.clone());
    let (for_flood, for_bot, for_end) = (told.clone(), told.clone(), told.clone());
    let (for_never, for_hub) = (told.dropped_dials, told.rooms);
    let mut app = Router::new()
        .route("/echo", websocket(options.clone(), move |conn| echo(conn, for_echo)))
        .route("/stuck", websocket(options.clone(), move |conn| stuck(conn, for_stuck)))
        .route("/flood", websocket(options.clone(), move |conn| flood(conn, for_flood)))
        .route(
            "/bot",
            websocket(options.clone().subprotocols(["bot.v1"]), move |conn| ask(conn, for_bot)),
        )
        .route(
            "/subprotocols",
            websocket(options.clone().subprotocols(["b", "c"]), |conn: Conn| async move {
                conn.closed().await;
            }),
        )
        .route("/refused", get(|| async { HttpStatus::FORBIDDEN }))
        .route(
            "/never",
            get(async move |_: Request| {
                let _note = NoteDrop(for_never.clone());
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/origin",
            websocket(
                options.clone().origin(Origin::check(|_, _| false).refuse_missing()),
                |_: Conn| async {},
            ),
        )
        .route("/abort", websocket(options.clone(), abort))
        .route(
            "/end",
            websocket(options.clone(), async move |conn: Conn| write_and_end(&conn).await),
        )
        .route("/end-first", websocket(options.clone(), move |conn| end_first(conn, for_end)))
        .route("/gone", websocket(options.clone(), close_at_once))
        .route("/deaf", websocket(options.clone(), deaf))
        .route("/hub", websocket(options.clone(), move |conn| for_hub.serve(conn)))
        .route("/close", websocket(options, close))
        .route("/", get(([(CONTENT_TYPE, "text/html")], "<!doctype html><title>Scenes</title>")));
    for (file, kind) in [("scenes.js", "text/javascript"), ("scenes_bg.wasm", "application/wasm")] {
        // `check` has looked for it. The other test needs none.
        let bytes = std::fs::read(module().join(file)).unwrap_or_default();
        app = app.route(&format!("/{file}"), get(([(CONTENT_TYPE, kind)], bytes)));
    }
    app
}

/// Runs the scenes of `examples/scenes.rs`.
fn check(environment: &str) {
    let script = Path::new(HERE).join("run.mjs");
    if !module().join("scenes.js").exists() {
        return skip("the module for browsers is missing: cargo xtask wasm");
    }
    if !is_there(PEERS, &script, environment) {
        return;
    }
    let mut server = Some(Server::start(([127, 0, 0, 1], 0).into()));
    let address = server.as_ref().unwrap().server.address;
    let mut command = node(PEERS);
    command.arg(&script).args([environment, &format!("http://{address}")]).arg(module());
    let errors = scenes::run(command.args(std::env::var("WS_WASM_SCENE")), |command| {
        answer(command, &mut server, address)
    });
    writeln!(std::io::stdout(), "{errors}").unwrap();
}

/// Does what a scene asks for.
fn answer(command: &str, server: &mut Option<Server>, address: SocketAddr) -> String {
    const LIMIT: Duration = Duration::from_secs(20);
    let (command, name) = command.split_once(' ').unwrap_or((command, ""));
    match (command, server.as_ref()) {
        ("kill", _) => server.take().into_iter().for_each(Server::kill),
        ("start", _) => *server = Some(Server::start(address)),
        ("release", Some(server)) => server.release.notify_one(),
        // The connection and the sockets of both sides have taken what they can when nothing more
        // is written for a while. More would be an error of the test, not of the client.
        ("flooded", Some(server)) => {
            let mut count = 0;
            loop {
                thread::sleep(Duration::from_millis(300)); // tidy: sleep is the subject
                let now = server.flooded.load(Ordering::Relaxed);
                if now == count && now > 0 {
                    return now.to_string();
                }
                count = now;
            }
        }
        ("end", Some(server)) => loop {
            match server.ends.recv_timeout(LIMIT) {
                Ok((of, end)) if of == name => return end,
                Ok(_) => {}
                Err(_) => return "no end".to_owned(),
            }
        },
        ("idle", Some(server)) => {
            let mut echoing = server.echoing.subscribe();
            let idle =
                async { timeout(LIMIT, echoing.wait_for(|count| *count == 0)).await.is_ok() };
            return if server.server.runtime.block_on(idle) { "idle" } else { "open" }.to_owned();
        }
        ("member", Some(server)) => {
            let member = async { timeout(LIMIT, server.rooms.member()).await };
            return server.server.runtime.block_on(member).unwrap_or_else(|_| "nobody".to_owned());
        }
        ("emit", Some(server)) => server.rooms.emit(name.parse().unwrap()),
        ("cut", Some(server)) => server.rooms.cut(name.parse().unwrap()),
        ("never", Some(server)) => {
            let dropped = server.dropped_dials.recv_timeout(LIMIT);
            return if dropped.is_ok() { "dropped" } else { "no drop" }.to_owned();
        }
        other => panic!("{:?}", other.0),
    }
    "done".to_owned()
}

#[test]
fn the_client_works_in_chromium() {
    check("chromium");
}

#[test]
fn the_client_works_in_chromium_without_web_socket_stream() {
    check("events");
}

#[tokio::test]
async fn the_bot_works_on_linux() {
    let (server, address) = tokio::task::spawn_blocking(|| {
        let server = Server::start(([127, 0, 0, 1], 0).into());
        let address = server.server.address;
        (server, address)
    })
    .await
    .unwrap();
    assert_eq!(bot(&format!("ws://{address}/bot"), "news").await.unwrap(), 2);
    tokio::task::spawn_blocking(|| server.kill()).await.unwrap();
}

#[test]
fn the_client_works_in_node() {
    check("node");
}
