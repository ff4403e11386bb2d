//! How do many WebSockets share events, rooms and broadcasts?
//!
//! A [`Hub`] turns each connection that an adapter passes to it into a [`Socket`]. A socket has an
//! id, attributes, rooms, and handlers for its events. A broadcast never waits for a slow peer.
//!
//! ```
//! use serde::Deserialize;
//! use ws_events::{EncodeError, Hub, Json, NotConnected, Room, Socket};
//!
//! #[derive(Deserialize)]
//! struct Say {
//!     room: String,
//!     text: String,
//! }
//!
//! // The peer chooses the data, so the room is checked.
//! async fn enter(socket: Socket, Json(room): Json<String>) -> Result<(), NotConnected> {
//!     if ["red", "blue"].contains(&&*room) { socket.join(room) } else { Ok(()) }
//! }
//!
//! async fn say(socket: Socket, Json(say): Json<Say>) -> Result<(), EncodeError> {
//!     if socket.is_in(&say.room) {
//!         // To the other members of the room.
//!         socket.to(&say.room).emit("said", &(socket.id(), say.text))?;
//!     }
//!     Ok(())
//! }
//!
//! // Also when the socket disconnects.
//! async fn left(socket: Socket, Room(room): Room) -> Result<(), EncodeError> {
//!     socket.to(&room).emit("left", &socket.id())?;
//!     Ok(())
//! }
//!
//! let hub = Hub::builder().envelope().build();
//! hub.on_connect(async |socket: Socket| socket.emit("welcome", "hello"));
//! hub.on("enter", enter);
//! hub.on("say", say);
//! hub.on_room_leave(left);
//! ```
//!
//! Any adapter can serve a hub. In a handler of axum:
//!
//! ```
//! use axum::extract::State;
//! use axum::{Router, routing::any};
//! use ws_events::Hub;
//! use ws_server_axum::WebSocketUpgrade;
//!
//! let hub = Hub::new();
//! let app: Router = Router::new()
//!     .route("/", any(async |ws: WebSocketUpgrade, State(hub): State<Hub>| {
//!         ws.on_upgrade(hub.handler())
//!     }))
//!     .with_state(hub);
//! ```
//!
//! Behind a filter of warp:
//!
//! ```
//! use warp::Filter as _;
//! use ws_events::Hub;
//! use ws_server_warp::{AcceptOptions, Ws, ws};
//!
//! let hub = Hub::new();
//! let route =
//!     warp::path("chat").and(ws(AcceptOptions::new())).map(move |ws: Ws| ws.on_upgrade(hub.handler()));
//! # let _ = route;
//! ```
//!
//! With either framework, `websocket(options, hub.handler())` is a complete route. With hyper, use
//! `upgrade.serve(hub.handler())`. For any other [`Conn`], use [`hub.serve(conn)`](Hub::serve).
//!
//! # Messages and events
//!
//! By default, a hub sends and receives messages without event names: [`Socket::send`] and similar
//! calls send them, and [`Hub::on_message`] handles them. With [`envelope`](HubBuilder::envelope),
//! text messages are events, encoded as `{"event":"say","data":…}` in both directions:
//! [`Socket::emit`] and similar calls send them, and [`Hub::on`] handles them. A web page needs no
//! library:
//!
//! ```js
//! const socket = new WebSocket("wss://example.com/chat");
//! const emit = (event, data) => socket.send(JSON.stringify({ event, data }));
//! socket.onopen = () => emit("say", { room: "red", text: "hello" });
//! socket.onmessage = (message) => {
//!   const { event, data } = JSON.parse(message.data);
//!   if (event === "said") console.log(...data);
//! };
//! ```
//!
//! For a page that has to reconnect, the folder `js` of this crate has a client: one module without
//! dependencies. [`JS`] is its text, to be served by the program.
//!
//! # Acknowledgements
//!
//! With an envelope, both sides can ask for an answer. Such an event has an `id`, and the answer is
//! `{"ack":id,"data":…}`. A handler answers the peer by the value that it returns, or by an
//! [`Ack`]: see [`HandlerReply`]. To ask a peer, await [`Socket::emit_with_ack`]. To ask many, read
//! the answers of [`Broadcast::emit_with_ack`] as they arrive.
//!
//! ```
//! use std::time::Duration;
//! use ws_events::{AckError, Hub, Json, Socket};
//!
//! let hub = Hub::builder().envelope().build();
//! hub.on("double", async |Json(n): Json<u32>| n.checked_mul(2).ok_or("too large"));
//! hub.on_connect(async |socket: Socket| -> Result<(), AckError> {
//!     let name: String =
//!         socket.emit_with_ack("name", "who are you?").timeout(Duration::from_secs(60)).await?;
//!     println!("{name} is here");
//!     Ok(())
//! });
//! ```
//!
//! # Several protocols
//!
//! A connection is served with the protocol that the hub is built with, or with another
//! [`Protocol`] by [`Hub::serve_as`]. The crate `ws-events-socketio` serves clients of Socket.IO
//! v5. All sockets are in the same rooms and have the same handlers. An event or message is encoded
//! once for each protocol of its recipients:
//!
//! | sent | to a plain socket | to an envelope socket | to a Socket.IO socket |
//! | --- | --- | --- | --- |
//! | an event | its data, as JSON text | `{"event":name,"data":…}` | the event |
//! | a text message | the text | the text | the event `message` with a string |
//! | a binary message | the bytes | the bytes | the event `message` with bytes |
//!
//! | received | from a plain socket | from an envelope socket | from a Socket.IO socket |
//! | --- | --- | --- | --- |
//! | text | a [`Message`](Event::Message) | an event, or an [`error`](EventError::Malformed) | |
//! | binary | a [`Message`](Event::Message) | a [`Message`](Event::Message) | |
//! | an event | | the event | the event; `message` is a [`Message`](Event::Message) |
//!
//! Bytes in the data of an event, such as a [`Bytes`], are base64 in its JSON, and attachments in
//! Socket.IO. A handler that takes a value without a place for bytes, such as a `serde_json::Value`,
//! gets base64 for an attachment, and an object or a map is then an error: a client cannot make a
//! placeholder of Socket.IO reach others. For the same reason an event with bytes whose JSON has an
//! object with `_placeholder: true` is not sent: [`EncodeError::Json`]. Nor is an event, or an answer,
//! whose data is nested deeper than 126 values: clients may not be able to read it, and a handler may
//! have it from a peer.
//!
//! # Socket.IO
//!
//! * A namespace is a hub: [`Hub::of`].
//! * [`Socket::auth`] is the `auth` of the client. [`Socket::request`] has the other data of its
//!   handshake: headers, query, URL, address, time, and whether it is secure.
//! * A tuple, or an array of fixed length, is several arguments of an event or an answer. `()` is
//!   none, and any other value is one. [`Json`] of a tuple takes several arguments.
//! * [`Socket::close`] tells the client to leave the namespace, and the client does not connect
//!   again by itself. With the codes 1001, 1012 and 1013, which [`Hub::drain`] and the default
//!   [`Overflow`] policy use, the session is closed instead, after the last messages of all
//!   namespaces, and the client connects again.
//! * Error events about mistakes are not sent.
//! * [`SocketIoLimits`](socketio::SocketIoLimits) bounds what a client may send.
//!
//! # Several processes
//!
//! Hubs of several processes act as one by a [`Broker`](broker::Broker): see [`cluster`].
//!
//! # Data of the request in handlers
//!
//! [`Socket::request`] is the HTTP request of the connection: path parameters, query, cookies, and
//! the [extensions](RequestInfo::extension) that middleware of the web framework has attached. A
//! handler of the framework can also set attributes of the connection, such as the logged-in user,
//! before it passes the connection to the hub. Handlers of the hub find these in the
//! [attributes](Socket::attributes) of the socket.
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::response::Response;
//! use ws_events::{Attribute, Hub, Socket};
//! use ws_server_axum::WebSocketUpgrade;
//!
//! #[derive(Clone)]
//! struct User(String);
//!
//! async fn chat(ws: WebSocketUpgrade, Path(name): Path<String>, State(hub): State<Hub>) -> Response {
//!     ws.on_upgrade(async move |conn| {
//!         conn.attributes().insert(User(name));
//!         hub.serve(conn).await;
//!     })
//! }
//!
//! let hub = Hub::new();
//! hub.on_connect(async |socket: Socket, Attribute(User(name)): Attribute<User>| {
//!     socket.send(format!("Hello, {name}!"))
//! });
//! # let _: axum::Router =
//! #     axum::Router::new().route("/{name}", axum::routing::any(chat)).with_state(hub);
//! ```
//!
//! # Testing
//!
//! A hub works with any connection. A test can use a pair of connections in memory:
//!
//! ```
//! use ws_events::{Hub, Message, Socket, pair};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ws_events::Error> {
//! let hub = Hub::new();
//! hub.on_message(async |socket: Socket, message: Message| socket.send(message));
//! let (client, server) = pair();
//! tokio::spawn(hub.handler()(server));
//! client.write("hello").await?;
//! assert_eq!(client.read().await?.as_text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! The guarantees apply to the sockets of one hub in one process; those of several processes are in
//! [`cluster`]:
//!
//! * Messages to one socket arrive in the order in which they were sent, whether to the socket, to
//!   a room, or to all. Only volatile messages, and messages beyond the [`SendQueueLimits`], are
//!   skipped. Pings and pongs overtake messages. [`Socket::close`] sends queued messages first, for
//!   a limited time.
//! * All members of a room get messages from several senders in the same order. A message to
//!   several rooms is ordered with the messages to each of them, and each recipient gets it
//!   once.
//! * A socket that [joined](Socket::join) before a message was sent gets the message. A socket that
//!   [left](Socket::leave) before does not. A socket that joins or leaves at the same time gets the
//!   message once or not at all. If it leaves a large room and joins again during the broadcast, it
//!   may get the message twice.
//! * Handlers of one socket run one after the other, in the order of their events; handlers of
//!   several sockets run concurrently. While a handler runs, pings are answered, messages are sent,
//!   and the end of the connection is detected. Up to 64 KiB are read ahead; beyond that, flow
//!   control stops the peer.
//! * A handler has no time limit: until it returns, its socket stays in the hub, also after the end
//!   of the connection. A handler that awaits anything but the socket needs its own timeout.
//! * `connect` is handled first. `disconnect` is handled once, after the last message and after
//!   events that were [fired](Socket::fire) by then, while the rooms and attributes still exist.
//!   `close` comes before `disconnect`, if this side closed. `error` comes after `disconnect`, if
//!   the connection failed, or the peer closed it with a code that is
//!   [not normal](StatusCode::is_normal). Then the socket leaves its rooms.
//! * Each `room_join` is followed by its `room_leave`, even if the task of the socket is dropped,
//!   provided that a runtime is running.
//! * The panic or error of a handler becomes an `error` event, and other handlers still run. If
//!   middleware panics, the connection is closed with 1011.
//! * A peer that disappears is detected by the [keepalive](ws_core::Config::keepalive) of the
//!   connection, which the adapters enable: if no pong arrives in time, the reason of `disconnect`
//!   is [`DisconnectReason::Lost`].
//! * A handle of a [`Socket`] does not keep the connection open, and after the end it keeps no
//!   attributes or handlers in memory.
//! * An id belongs to one socket at a time. [`Socket::set_id`] is atomic: during the change, a
//!   lookup by the old id or by the new id finds the socket.
//!
//! # What was missed
//!
//! With [`HubBuilder::history`], a room keeps what is sent to it, in the order in which its members
//! get it, and [`Hub::room`] reads what is behind a [`Position`]. With [`HubBuilder::recovery`], a
//! client that lost its connection comes back with its id, its rooms, and everything that it has
//! missed; or its socket is a new one, and the client learns that.
//!
//! # Slow peers
//!
//! Each socket has a send queue. [`SendQueueLimits`] limits its bytes and messages; the first
//! sixteen messages need no allocation. The connection gets one batch at a time, so messages for a
//! slow peer stay in its queue. Beyond the limits, the [`Overflow`] policy applies: by default the
//! socket is closed with 1013. Other sockets are not delayed.
//!
//! All messages pass through the queue. They stay there until the socket's task or a batch writer
//! runs. A batch writer is a task that writes for several sockets. If a queue is half full before
//! that, the handlers of the hub yield, but only where they await something. A handler that sends
//! more than half of the limits to one socket without an `await` can overflow the queue of a peer
//! that is not slow. Your own tasks do not yield: a task that sends in a loop should call
//! [`yield_now`](tokio::task::yield_now) regularly, or await something else.
//!
//! # Coming from callbacks
//!
//! The callbacks of `Server` in dgrr's Go library `websocket`, by event:
//!
//! | dgrr's `Server` | here |
//! | --- | --- |
//! | `HandleOpen(func(*Conn))` | [`Hub::on_connect`] with [`Socket`] |
//! | `HandleData(func(*Conn, bool, []byte))` | [`Hub::on_message`] with [`Socket`] and [`Message`], whose [`kind`](Message::kind) is text or binary |
//! | `HandleFrame(func(*Conn, *Frame))` | [`Socket::conn`] in `on_connect`, and its [`frames().tap`](ws_core::conn::Frames::tap), which observes the frames of both directions |
//! | `HandlePing`, `HandlePong` | [`Hub::on`] with [`Event::Ping`] or [`Event::Pong`], and the payload as [`Bytes`]; pings are answered without a handler |
//! | `HandleClose(func(*Conn, error))` | [`Hub::on_disconnect`] with [`DisconnectReason`] |
//! | `HandleError(func(*Conn, error))` | [`Hub::on_error`] with [`EventError`] |
//! | `UpgradeHandler` | [`Hub::middleware`], or the adapter's filter for an HTTP status |
//! | `conn.ID()`, `UserValue`, `SetUserValue` | [`Socket::id`], [`Socket::attributes`] |
//!
//! The functions of gofiber's Go package `socketio`:
//!
//! | socketio | here |
//! | --- | --- |
//! | `New(callback, config)` | [`Hub::handler`], [`Hub::on_connect`]; the request is [`Socket::request`]; for one route, code before [`Hub::serve`] |
//! | `On(event, callback)`, `Off` | [`Hub::on`], [`Hub::off`]; [`Socket::on`], [`Socket::off`] for one socket |
//! | `EventPayload` | [`EventPayload`], or parts of it as [arguments](FromEvent) |
//! | `kws.Emit(message)` | [`Socket::send`], [`Socket::emit`] |
//! | `EmitTo`, `EmitToList` | [`Socket::send_to`], [`Hub::ids`] and [`Broadcast::send`]; with an envelope [`Hub::emit_to`], [`Hub::emit_to_list`], and the same on [`Socket`] |
//! | `kws.Broadcast(message, true)` | [`Socket::broadcast`], which excepts the socket itself |
//! | `Broadcast`, `kws.Broadcast(message, false)` | [`Hub::send`], [`Hub::emit`] |
//! | `Fire`, `kws.Fire` | [`Hub::fire`], [`Socket::fire`] |
//! | `SetAttribute`, `GetStringAttribute`, … | [`Socket::attributes`]: [`set`](Attributes::set), [`named`](Attributes::named) |
//! | `GetUUID`, `SetUUID` | [`Socket::id`], [`Socket::set_id`] |
//! | `Close`, `IsAlive` | [`Socket::close`], [`Socket::is_alive`] |
//! | `Drain`, `CloseAll`, `IsDraining` | [`Hub::drain`], [`Hub::close_all`], [`Hub::is_draining`] |
//! | `ErrorInvalidConnection`, `ErrorUUIDDuplication` | [`EmitError::NoSuchId`], [`SetIdError::Taken`] |

pub mod broker;
pub mod cluster;
mod delivery;
pub mod engine;
mod error;
mod events;
mod history;
mod hub;
mod link;
mod namespace_link;
mod presence;
mod recovery;
mod registry;
mod session;
pub mod socketio;
mod sync;

/// The client for browsers and node, `ws-events.js`: one JavaScript module without dependencies. Serve
/// it with the type `text/javascript`.
///
/// ```
/// use axum::routing::get;
///
/// let page = get(([("content-type", "text/javascript")], ws_events::JS));
/// # let _: axum::Router = axum::Router::new().route("/ws-events.js", page);
/// ```
pub const JS: &str = include_str!("../js/ws-events.js");

pub use bytes::Bytes;
pub use delivery::enqueue::{ClusterDelivery, Delivery, Stored};
pub use delivery::overflow::{Overflow, SendQueueLimits};
pub use delivery::stats::{HubStats, SocketStats};
pub use error::{
    AckError, ConnectRejection, DisconnectReason, EmitError, EncodeError, EventError, NotConnected,
    SetIdError,
};
pub use events::event::Event;
pub use events::extract::{Attribute, FromEvent, Json, Room, State};
pub use events::handler::{Handler, HandlerArgs, HandlerFuture, HandlerReply};
pub use events::listeners::ListenerId;
pub use events::payload::EventPayload;
pub use events::protocol::Protocol;
pub use history::limits::History;
pub use history::memory::MemoryHistory;
pub use history::position::{Position, PositionParseError};
pub use history::store::{
    Appended, HistoryError, HistoryPage, HistoryReply, HistorySink, HistoryStore,
};
pub use hub::Hub;
pub use hub::acks::{Ack, BroadcastAcks, EmitWithAck};
pub use hub::broadcast::Broadcast;
pub use hub::builder::HubBuilder;
pub use hub::check::CheckError;
pub use hub::expiry::ExpiredSession;
pub use hub::history::{HistoryMessage, RoomHistory};
pub use hub::inspect::{HubSnapshot, RoomSnapshot, SocketRates, SocketSnapshot};
pub use hub::presence::{Presence, PresenceChanges};
pub use hub::recovery::Recovery;
pub use hub::server_handlers::{ServerEvent, ServerReply};
pub use hub::shutdown::DrainReport;
pub use hub::socket::Socket;
pub use presence::limits::{PresenceError, PresenceOptions};
pub use presence::list::{PresenceChange, PresenceDiff, PresenceEntry, PresenceList};
pub use recovery::memory::MemorySessions;
pub use recovery::store::{SessionStore, SessionStoreError};
pub use registry::id::Id;
pub use ws_core::{
    Attributes, CloseError, Conn, Error, Message, MessageType, PreparedMessage, RequestInfo,
    SendError, StatusCode, pair,
};
