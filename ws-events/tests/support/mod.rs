//! Which helpers do the tests share?
//!
//! A hub with each adapter, clients, and a list of the events that handlers got.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test file uses some of the helpers"
)]

use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use warp::Filter as _;
use ws_client::Dial;
use ws_core::handshake::Negotiated;
use ws_core::{AcceptOptions, CloseError, Config, Conn, Error, Message, Role, StatusCode, pair};
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::{ConnectRejection, Hub, Protocol, Socket};
use ws_server_axum::WebSocketUpgrade;

/// The timeout of each wait in a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Adapter {
    Hyper,
    /// In a handler, by `on_upgrade`.
    Axum,
    /// As a route.
    AxumRoute,
    /// Behind a filter, by `on_upgrade`.
    Warp,
    WarpRoute,
}

pub(crate) const ADAPTERS: [Adapter; 5] =
    [Adapter::Hyper, Adapter::Axum, Adapter::AxumRoute, Adapter::Warp, Adapter::WarpRoute];

/// A hub that is served over TCP until this is dropped.
pub(crate) struct Served {
    pub(crate) hub: Hub,
    pub(crate) addr: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Served {
    pub(crate) async fn new(hub: &Hub, adapter: Adapter) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let member = hub.handler();
        let options = AcceptOptions::new();
        let server = match adapter {
            Adapter::Axum => {
                let upgrade = async |ws: WebSocketUpgrade, State(hub): State<Hub>| {
                    ws.on_upgrade(hub.handler())
                };
                let app = Router::new().route("/{place}", any(upgrade)).with_state(hub.clone());
                tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
            }
            Adapter::AxumRoute => {
                let route = ws_server_axum::websocket(options, member);
                let app = Router::new().route("/{place}", route);
                tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
            }
            Adapter::Warp => {
                let hub = hub.clone();
                let route = ws_server_warp::ws(options)
                    .map(move |ws: ws_server_warp::Ws| ws.on_upgrade(hub.handler()));
                let service = warp::service(route.recover(ws_server_warp::recover));
                tokio::spawn(async move { ws_server_warp::serve(listener, service).await.unwrap() })
            }
            Adapter::WarpRoute => {
                let route = ws_server_warp::websocket(options, member);
                let service = warp::service(route.recover(ws_server_warp::recover));
                tokio::spawn(async move { ws_server_warp::serve(listener, service).await.unwrap() })
            }
            Adapter::Hyper => tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(on_hyper(stream, options.clone(), member.clone()));
                }
            }),
        };
        Self { hub: hub.clone(), addr, server }
    }

    /// A client; `query` has its id.
    pub(crate) async fn dial(&self, query: &str) -> Conn {
        let io = TcpStream::connect(self.addr).await.unwrap();
        let dial = Dial::new(format!("ws://{}/here?{query}", self.addr)).header("cookie", "a=b");
        timeout(TIMEOUT, dial.connect_over(io)).await.unwrap().unwrap()
    }

    /// A client that is connected with this id.
    pub(crate) async fn enter(&self, id: &str) -> Conn {
        let conn = self.dial(&format!("id={id}")).await;
        wait_until(|| self.hub.socket(id).is_some_and(|socket| socket.join("all").is_ok())).await;
        conn
    }
}

async fn on_hyper<H, Fut>(stream: TcpStream, options: AcceptOptions, member: H)
where
    H: FnOnce(Conn) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let service = service_fn(move |mut request| {
        let answer = match ws_server_hyper::accept(&mut request, &options) {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(member.clone()));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::<Bytes>::from),
        };
        async { Ok::<_, Infallible>(answer) }
    });
    let server = ws_server_hyper::http_builder();
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// Runs a test with a hub behind each adapter in turn. Clients choose their ids.
pub(crate) async fn on_each_adapter(hub: impl Fn() -> Hub, test: impl AsyncFn(&Served)) {
    for adapter in ADAPTERS {
        println!("{adapter:?}");
        let hub = hub();
        hub.middleware(set_id_from_query);
        let served = Served::new(&hub, adapter).await;
        timeout(TIMEOUT, test(&served)).await.unwrap();
    }
}

/// Middleware that sets the id from the query of the request.
pub(crate) async fn set_id_from_query(socket: Socket) -> Result<(), ConnectRejection> {
    let request = socket.request().unwrap();
    if let Some(id) = request.query("id") {
        socket.set_id(&*id).map_err(|error| ConnectRejection::new(error.to_string()))?;
    }
    Ok(())
}

/// A socket of the hub with this id, and its client.
pub(crate) async fn enter(hub: &Hub, id: &str) -> (Socket, Conn) {
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    let new = new_socket(hub).await;
    new.set_id(id).unwrap();
    (new, client)
}

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Plain,
    Envelope,
    SocketIo,
}

impl Over {
    /// How long a close may take: as long as the connection allows, or the session that it carries.
    pub(crate) fn close_timeout(self, of_connection: Duration) -> Duration {
        match self {
            Self::Plain | Self::Envelope => of_connection,
            Self::SocketIo => Duration::from_secs(5),
        }
    }

    /// The code that a client sees for a close that is meant to be final. A client of Socket.IO gets
    /// a packet without a code, for which [`Client::read`] reports 1008.
    pub(crate) const fn final_code(self, code: u16) -> u16 {
        match self {
            Self::Plain | Self::Envelope => code,
            Self::SocketIo => 1008,
        }
    }
}

/// Runs tests over a protocol, each in a module with its name.
macro_rules! over_protocol {
    ($module:ident $over:ident: $($(#[$attr:meta])* $name:ident;)*) => {
        mod $module {
            $($(#[$attr])* async fn $name() {
                super::$name(super::Over::$over).await;
            })*
        }
    };
}
pub(crate) use over_protocol;

/// A client of messages over a protocol.
pub(crate) struct Client {
    pub(crate) conn: Conn,
    over: Over,
}

impl Client {
    /// The next message.
    pub(crate) async fn read(&self) -> Result<Message, Error> {
        loop {
            let message = self.conn.read().await?;
            let Some(text) = message.as_text().filter(|_| self.over == Over::SocketIo) else {
                return Ok(message);
            };
            match text.as_bytes() {
                // The answers to a handshake.
                [b'0', ..] | [b'4', b'0', ..] => {}
                [b'2'] => self.conn.write("3").await?,
                [b'4', b'2', json @ ..] => {
                    let (name, text): (String, String) = serde_json::from_slice(json).unwrap();
                    assert_eq!(name, "message");
                    return Ok(Message::from(text));
                }
                // `DISCONNECT`.
                b"41" => {
                    let left = CloseError::new(StatusCode::POLICY_VIOLATION, "");
                    return Err(Error::Closed(left));
                }
                // Its attachment is the next message.
                [b'4', b'5', ..] => {}
                _ => panic!("{text}"),
            }
        }
    }

    /// Sends a message; over the envelope a binary one, since a text is an event there.
    pub(crate) async fn write(&self, text: &str) -> Result<(), Error> {
        match self.over {
            Over::Plain => self.conn.write(text).await,
            Over::Envelope => self.conn.write(Message::binary(text.to_owned())).await,
            Over::SocketIo => {
                let event = serde_json::to_string(&("message", text)).unwrap();
                self.conn.write(format!("42{event}")).await
            }
        }
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.conn.close(StatusCode::NORMAL_CLOSURE, "").await
    }

    pub(crate) fn close_now(&self) {
        self.conn.close_now();
    }
}

/// Serves a connection of a client that speaks this protocol.
pub(crate) fn serve_over(hub: &Hub, over: Over, server: Conn) -> JoinHandle<()> {
    let hub = hub.clone();
    tokio::spawn(async move {
        match over {
            Over::Plain => hub.serve_as(server, Protocol::Plain).await,
            Over::Envelope => hub.serve_as(server, Protocol::Envelope).await,
            Over::SocketIo => {
                let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
                let driving = session.clone();
                tokio::join!(driving.drive(), hub.serve_engine(session));
            }
        }
    })
}

/// As [`serve_over`], over Socket.IO.
pub(crate) fn serve_socketio(hub: &Hub, server: Conn) -> JoinHandle<()> {
    serve_over(hub, Over::SocketIo, server)
}

/// A client over a connection that [`serve_over`] serves.
pub(crate) async fn client_over(over: Over, conn: Conn) -> Client {
    if over == Over::SocketIo {
        conn.write("40").await.unwrap();
    }
    Client { conn, over }
}

/// As [`enter`], over this protocol.
pub(crate) async fn enter_over(hub: &Hub, over: Over, id: &str) -> (Socket, Client) {
    let (client, server) = pair();
    serve_over(hub, over, server);
    let client = client_over(over, client).await;
    let new = new_socket(hub).await;
    new.set_id(id).unwrap();
    (new, client)
}

/// The socket whose id is still random.
async fn new_socket(hub: &Hub) -> Socket {
    let find = || hub.everyone().sockets().into_iter().find(|socket| socket.id().len() == 36);
    wait_until(|| find().is_some()).await;
    find().unwrap()
}

/// A client whose messages are read.
pub(crate) trait ReadMessages {
    fn read_message(&self) -> impl Future<Output = Result<Message, Error>>;
}

impl ReadMessages for Conn {
    async fn read_message(&self) -> Result<Message, Error> {
        self.read().await
    }
}

impl ReadMessages for Client {
    async fn read_message(&self) -> Result<Message, Error> {
        self.read().await
    }
}

/// A frame of a client, masked with zeros.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let header = match length {
        0..126 => vec![0x80 | opcode, 0x80 | length as u8],
        _ => [&[0x80 | opcode, 0x80 | 126], length.to_be_bytes().as_slice()].concat(),
    };
    [header.as_slice(), &[0; 4], payload].concat()
}

/// A connection whose peer does nothing. A `Conn` as the peer would answer pings by itself.
pub(crate) fn with_silent_peer(config: Config) -> (DuplexStream, Conn) {
    let (peer, io) = duplex(64 * 1024);
    let negotiated = Negotiated::default();
    (peer, Conn::from_stream(io, Role::Server, negotiated, Bytes::new(), config))
}

/// The texts that a client reads before `end`.
pub(crate) async fn read_until_end(client: &impl ReadMessages) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match read(client).await {
            text if text == "end" => return texts,
            text => texts.push(text),
        }
    }
}

/// Lets other tasks run until the condition holds.
pub(crate) async fn wait_until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, waiting).await.unwrap();
}

/// Runs code that may deadlock in a thread of its own, which is abandoned after the timeout.
pub(crate) async fn run_in_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, ran) = oneshot::channel();
    std::thread::spawn(move || done.send(run()));
    timeout(TIMEOUT, ran).await.expect("a deadlock").expect("a panic")
}

/// As [`run_in_thread`], with a runtime.
pub(crate) async fn run_in_thread_async<F: Future<Output = ()>>(
    run: impl FnOnce() -> F + Send + 'static,
) {
    run_in_thread(|| Builder::new_current_thread().enable_all().build().unwrap().block_on(run()))
        .await;
}

/// The next text.
pub(crate) async fn read(client: &impl ReadMessages) -> String {
    let message = timeout(TIMEOUT, client.read_message()).await.unwrap().unwrap();
    message.as_text().unwrap().to_owned()
}

/// All messages until the end, and the close code.
pub(crate) async fn read_all(client: &impl ReadMessages) -> (Vec<Message>, Option<u16>) {
    let mut messages = Vec::new();
    loop {
        match timeout(TIMEOUT, client.read_message()).await.unwrap() {
            Ok(message) => messages.push(message),
            Err(error) => return (messages, error.close_status().map(|code| code.as_u16())),
        }
    }
}

/// The events that handlers got, in order.
#[derive(Clone, Default)]
pub(crate) struct EventLog(Arc<(Mutex<Vec<String>>, Notify)>);

impl EventLog {
    pub(crate) fn note(&self, what: impl Display) {
        self.0.0.lock().push(what.to_string());
        self.0.1.notify_waiters();
    }

    /// Waits for `count` events, and takes them.
    pub(crate) async fn take(&self, count: usize) -> Vec<String> {
        let waiting = async {
            loop {
                let mut more = std::pin::pin!(self.0.1.notified());
                more.as_mut().enable();
                if self.0.0.lock().len() >= count {
                    return std::mem::take(&mut *self.0.0.lock());
                }
                more.await;
            }
        };
        let log = timeout(TIMEOUT, waiting).await;
        log.unwrap_or_else(|_| panic!("only {:?} of {count}", self.0.0.lock()))
    }

    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.0.lock().clone()
    }
}

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}
