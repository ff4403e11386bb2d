//! A hub for WebSockets: events, rooms, presence, and broadcasts that never wait for a slow
//! peer.
//!
//! A [`Hub`] makes a [`Socket`] of every connection that it is given, whichever adapter the
//! connection comes from: something with an id, attributes, rooms, and handlers that are
//! called when something happens to it.
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
//! // What peers send is theirs to choose: so the room is looked at.
//! async fn enter(socket: Socket, Json(room): Json<String>) -> Result<(), NotConnected> {
//!     if ["red", "blue"].contains(&&*room) { socket.join(room) } else { Ok(()) }
//! }
//!
//! async fn say(socket: Socket, Json(say): Json<Say>) -> Result<(), EncodeError> {
//!     if socket.is_in(&say.room) {
//!         // Everyone in the room, but whoever says it.
//!         socket.to(&say.room).emit("said", &(socket.id(), say.text))?;
//!     }
//!     Ok(())
//! }
//!
//! // However it comes about: the peer is gone, too.
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
//! It is served by any adapter: `ws.on_upgrade(hub.member())` in a handler of axum,
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
//!         ws.on_upgrade(hub.member())
//!     }))
//!     .with_state(hub);
//! ```
//!
//! or behind a filter of warp,
//!
//! ```
//! use warp::Filter as _;
//! use ws_events::Hub;
//! use ws_server_warp::{AcceptOptions, Ws, ws};
//!
//! let hub = Hub::new();
//! let route =
//!     warp::path("chat").and(ws(AcceptOptions::new())).map(move |ws: Ws| ws.on_upgrade(hub.member()));
//! # let _ = route;
//! ```
//!
//! or by `websocket(options, hub.member())` as a whole route of either;
//! `upgrade.serve(hub.member())` with hyper; and [`hub.serve(conn)`](Hub::serve) for any
//! [`Conn`].
//!
//! # Messages and events
//!
//! By default what goes over the wire are messages as they are: [`Socket::send`] and its
//! like send them, [`Hub::on_message`] hears of them. With
//! [`envelope`](HubBuilder::envelope), text messages are events, `{"event":"say","data":…}`
//! in both directions: [`Socket::emit`] and its like send them, [`Hub::on`] hears of them.
//! A page needs no library for it:
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
//! # From the request to the handlers
//!
//! [`Socket::request`] is the request that the connection began with: path parameters, query,
//! cookies, and what middleware of the web framework attached to it, its
//! [locals](RequestInfo::local). What a handler of the framework has found out, such as who is
//! logged in, it keeps with the connection before the hub is given that. Handlers of the hub
//! find it among the [attributes](Socket::attributes) of the socket.
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
//! A hub does not care where its connections come from. Two ends in memory are enough for a test:
//!
//! ```
//! use ws_events::{Hub, Message, Socket, pair};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ws_events::Error> {
//! let hub = Hub::new();
//! hub.on_message(async |socket: Socket, message: Message| socket.send(message));
//! let (client, server) = pair();
//! tokio::spawn(hub.member()(server));
//! client.write("hello").await?;
//! assert_eq!(client.read().await?.as_text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! Among the sockets of one process, which is all that a hub knows of:
//!
//! * What is sent to one socket arrives in the order in which it was sent, however it was:
//!   to the socket, to a room, to everyone. Only volatile messages, and those that an
//!   [`Outbox`] has no room for, are left out. Pings, pongs and the closing handshake
//!   overtake.
//! * When several send to a room, all who are in it get their messages in the same order. A
//!   message to several rooms takes its place in the order of each, and reaches everyone once.
//! * Who [joined](Socket::join) before a message was sent gets it, and who
//!   [left](Socket::leave) before does not. Who does so at the same time gets it once or not
//!   at all; who leaves a large room and enters it again meanwhile may get it twice.
//! * Handlers of one socket run one after the other, in the order of what they handle;
//!   those of several sockets at once. While one works, pings are answered, what is sent
//!   leaves, and the end is noticed; up to 32 messages or 64 KiB are read ahead, and then
//!   the peer has to wait.
//! * `connect` is handled before anything else. `disconnect` is handled once, after the
//!   last message and what was [fired](Socket::fire) by then, with rooms and attributes
//!   still there; before it `close`, if this side closed; after it `error`, if it was a
//!   fault. Then the socket leaves its rooms.
//! * Each `room_join` has its `room_leave`, in this order, whatever becomes of the socket:
//!   also when its task is dropped, as long as there is a runtime for the rest.
//! * A handler that panics or fails is told to the handlers of `error`, and stops nobody.
//!   Middleware that panics lets nobody in, and the connection is closed with 1011.
//! * A peer that is gone without a word is found out by the connection's
//!   [keepalive](ws_core::Config::keepalive), which the adapters have on: no answer to a
//!   ping within its time is a `disconnect` with [`Reason::Lost`].
//! * Who keeps a [`Socket`] keeps neither the connection, nor its attributes or handlers.
//! * An id belongs to one socket at a time. [`Socket::set_id`] is one step: the socket can
//!   be found all the while.
//!
//! # Slow peers
//!
//! What is sent waits in the socket's [`Outbox`], which is bounded in bytes and in
//! messages, and takes memory of its own when more than sixteen wait. Nothing else waits:
//! the connection is handed one batch at a time. Beyond the bounds the [`Overflow`] decides; by default the
//! socket is closed with 1013. Nobody else waits for it in any case.
//!
//! An outbox is not only for the slow: what is sent waits there until the task that writes
//! it has its turn. That is the socket's own or, for what is sent to many, one that several
//! sockets share. When half of an outbox is used before that, the hub's handlers give way for
//! a turn, so half of it has to hold what one handler sends to one socket without waiting for
//! anything in between. A task of your own is not held back: one that sends in a loop calls
//! [`yield_now`](tokio::task::yield_now) now and then, or waits for something.
//!
//! # Coming from callbacks
//!
//! The callback face of a server, by event:
//!
//! | dgrr's `Server` | here |
//! | --- | --- |
//! | `HandleOpen(func(*Conn))` | [`Hub::on_connect`] with [`Socket`] |
//! | `HandleData(func(*Conn, bool, []byte))` | [`Hub::on_message`] with [`Socket`] and [`Message`], whose [`kind`](Message::kind) is text or binary |
//! | `HandleFrame(func(*Conn, *Frame))` | [`Socket::conn`] in `on_connect`, and its [`tap`](Conn::tap), which shows the frames of both directions and replaces nothing |
//! | `HandlePing`, `HandlePong` | [`Hub::on_ping`], [`Hub::on_pong`], with the payload as [`Bytes`]; pings are answered without them |
//! | `HandleClose(func(*Conn, error))` | [`Hub::on_disconnect`] with [`Reason`] |
//! | `HandleError(func(*Conn, error))` | [`Hub::on_error`] with [`Fault`] |
//! | `UpgradeHandler` | [`Hub::middleware`], or the adapter's filter for an HTTP status |
//! | `conn.ID()`, `UserValue`, `SetUserValue` | [`Socket::id`], [`Socket::attributes`] |
//!
//! And gofiber's socketio:
//!
//! | socketio | here |
//! | --- | --- |
//! | `New(callback, config)` | [`Hub::member`], [`Hub::on_connect`]; the request is [`Socket::request`]; for one route alone, what its handler does before [`Hub::serve`] |
//! | `On(event, callback)`, `Off` | [`Hub::on`], [`Hub::off`]; [`Socket::on`], [`Socket::off`] for one socket |
//! | `EventPayload` | [`EventPayload`], or what you need of it as [arguments](FromEvent) |
//! | `kws.Emit(message)` | [`Socket::send`], [`Socket::emit`] |
//! | `EmitTo`, `EmitToList` | [`Hub::send_to`], [`Hub::send_to_list`], and the same on [`Socket`] |
//! | `kws.Broadcast(message, true)` | [`Socket::broadcast`], which leaves itself out |
//! | `Broadcast`, `kws.Broadcast(message, false)` | [`Hub::send`], [`Hub::emit`] |
//! | `Fire`, `kws.Fire` | [`Hub::fire`], [`Socket::fire`] |
//! | `SetAttribute`, `GetStringAttribute`, … | [`Socket::attributes`]: [`set`](Attributes::set), [`named`](Attributes::named) |
//! | `GetUUID`, `SetUUID` | [`Socket::id`], [`Socket::set_id`] |
//! | `Close`, `IsAlive` | [`Socket::close`], [`Socket::is_alive`] |
//! | `Drain`, `CloseAll`, `IsDraining` | [`Hub::drain`], [`Hub::close_all`], [`Hub::is_draining`] |
//! | `ErrorInvalidConnection`, `ErrorUUIDDuplication` | [`EmitError::NoSuchId`], [`SetIdError::Taken`] |

mod bell;
mod broker;
mod builder;
mod carrier;
mod counters;
mod directory;
mod dispatch;
mod drain;
mod driver;
mod error;
mod event;
mod extract;
mod handler;
mod hub;
mod id;
mod listeners;
mod mail;
mod mailbox;
mod member;
mod outbox;
mod outgoing;
mod patience;
mod posting;
mod presence;
mod protocol;
mod pump;
mod rooms;
mod shards;
mod socket;
mod stay;
mod stock;
mod sync;
mod target;
mod turns;
mod waiting;

pub use builder::HubBuilder;
pub use bytes::Bytes;
pub use counters::{HubStats, SocketStats};
pub use drain::Drained;
pub use error::{EmitError, EncodeError, Fault, NotConnected, Reason, Refusal, SetIdError};
pub use event::{Event, EventPayload};
pub use extract::{Attribute, FromEvent, Json, Room, State};
pub use handler::{Handler, Handling};
pub use hub::Hub;
pub use id::Id;
pub use listeners::ListenerId;
pub use outbox::{Outbox, Overflow};
pub use posting::Delivery;
pub use socket::Socket;
pub use target::Target;
pub use ws_core::{
    Attributes, CloseError, Conn, Error, Message, MessageType, PreparedMessage, RequestInfo,
    SendError, StatusCode, pair,
};
