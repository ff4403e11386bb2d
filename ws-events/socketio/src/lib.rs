//! The HTTP service for Socket.IO clients of a `ws-events` hub.
//!
//! [`SocketIo`] is a service for HTTP requests. Mount it at `/socket.io/`, the path that the
//! official clients use. It serves Engine.IO v4, the transport of Socket.IO: HTTP long-polling,
//! WebSockets, and the upgrade from the first to the second, over HTTP/1.1 and HTTP/2.
//!
//! The packets of Socket.IO v5 become events of the hub, and each namespace is a
//! [hub](ws_events::Hub::of):
//!
//! ```no_run
//! use tokio::net::TcpListener;
//! use ws_events::{Hub, Json, Socket};
//! use ws_events_socketio::SocketIo;
//!
//! # async fn run() -> std::io::Result<()> {
//! let hub = Hub::new();
//! hub.on("say", async |socket: Socket, Json(text): Json<String>| {
//!     socket.broadcast().emit("said", &text).map(drop)
//! });
//! // The value of a handler acknowledges the event.
//! hub.on("double", async |Json(n): Json<u32>| Json(2 * n));
//! let listener = TcpListener::bind("127.0.0.1:3000").await?;
//! ws_server_hyper::serve(listener, SocketIo::new(&hub)).await
//! # }
//! ```
//!
//! Any client of Socket.IO 3 or 4 connects: `io("http://127.0.0.1:3000")`. For Engine.IO without
//! Socket.IO, use [`SocketIo::engine`].
//!
//! # Mounting
//!
//! In axum, `Router::new().nest_service("/socket.io/", nested(socketio))`, with
//! `ws_server_axum::nested`. Without it, [`Socket::request`](ws_events::Socket::request) has neither
//! the path of the request nor its path parameters. Serve the router with `ws_server_axum::serve`:
//! under `axum::serve`, the address of the client is known only with `nested` and
//! `app.into_make_service_with_connect_info::<SocketAddr>()`. Without it,
//! [`Socket::peer_addr`](ws_events::Socket::peer_addr) is `None`, limits for each client do not count,
//! and no proxy is trusted.
//!
//! In warp and on bare hyper, put the layer [`SocketIo::at`] in front of the other routes:
//! `socketio.at("/socket.io/").layer(warp::service(routes))`, and serve the result with
//! `ws_server_warp::serve`.
//!
//! # Who may use a session
//!
//! The id of a session is a secret of 144 random bits: a client that has it can use the session. A
//! request for a session is refused if its `Origin` differs from that of the handshake, and both
//! requests have one. Nothing else is compared: neither the address of the client, which may change,
//! nor cookies or other headers. A program that is no browser, and has the id, can send what it likes.
//!
//! # Load balancers
//!
//! A session that polls is in the memory of one process. All of its requests, including the
//! WebSocket of its upgrade, have to reach this process. Configure sticky sessions, by the address
//! of the client or by a cookie. The load balancer can set the cookie itself, or use that of
//! [`SocketIo::cookie`]. A request that reaches another process gets status 400 and code 1, and the
//! client opens a new session. A client that starts with a WebSocket (`transports: ["websocket"]`)
//! needs no sticky sessions.
//!
//! The load balancer must not buffer responses, and its timeout for idle requests has to exceed
//! [`EngineConfig::ping_interval`]: a GET waits that long for its response.
//!
//! # Limits
//!
//! | what | limit | default |
//! | --- | --- | --- |
//! | the body of a POST, and a message of a WebSocket | [`EngineConfig::max_payload`] | 1,000,000 bytes |
//! | the time for the body of a POST | [`SocketIo::body_timeout`] | 30 s |
//! | concurrent GETs and POSTs of a session | one of each | |
//! | the body of the response to a GET | 64 KiB and one message, before base64 | |
//! | messages that wait for the handler, in each of two queues | 64 messages and 64 KiB, and one message or body | |
//! | what waits for room in these queues | one POST, and one packet | |
//! | the time that a POST waits until the messages of the last one are received | ping interval and timeout | 45 s |
//! | a client that does not answer a ping | [`EngineConfig::ping_timeout`] | 20 s |
//! | an upgrade | [`EngineConfig::upgrade_timeout`] | 10 s |
//! | a client that does not read the response to a GET | with the `serve` functions of this project | 60 s |
//! | sessions that poll | [`EngineConfig::max_sessions`] | 10,000 |
//! | sessions, in total and for each client | `AcceptOptions::limits` | none |

mod cors;
mod layer;
mod query;
mod refusal;
mod service;
mod session;

pub use layer::{SocketIoLayer, SocketIoOr};
pub use service::SocketIo;
pub use ws_events::engine::{EngineConfig, EngineEnd, EngineEndKind, EngineSession};
pub use ws_server_hyper::{AcceptOptions, Origin};
