//! What does the server do when a user connects, joins a room or sends a message?

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};
use ws_events::{
    Attribute, ConnectRejection, EncodeError, EventError, Hub, Json, Room, Socket, State,
    StatusCode,
};

use crate::history::{ChatMessage, History};

/// Maximum lengths in characters: of user and room names, of a text, of its key.
const MAX_NAME: usize = 24;
const MAX_TEXT: usize = 2_000;
const MAX_KEY: usize = 40;

/// The maximum number of rooms of a user.
const MAX_ROOMS: usize = 10;

/// The rate limit of a user's events: the burst, and the interval after it.
const BURST: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(250);

/// The pong timeout for a user whose name is requested by another connection.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The user's name, an attribute of the socket. In lower case, it is the socket's id.
#[derive(Clone)]
struct Name(String);

#[derive(Deserialize)]
struct Join {
    room: String,
    /// The timestamp of the last message that the page has.
    after: u64,
}

#[derive(Deserialize)]
struct Say {
    to: String,
    text: String,
    key: String,
}

pub(crate) fn hub() -> Hub {
    let mut history = History::default();
    for room in ["general", "random"] {
        history.create_room(room, |_| false);
    }
    // Handlers hold the lock while they emit, so all users receive messages in the same order, and
    // a user who joins misses none. Emitting does not block.
    let hub = Hub::builder().envelope().state(Mutex::new(history)).build();
    hub.middleware(admit);
    hub.on("join", join);
    hub.on("leave", leave);
    hub.on("say", say);
    hub.on("typing", typing);
    // The heartbeat of the page. JavaScript cannot send pings.
    hub.on("beat", async |socket: Socket| socket.emit("beat", &()));
    hub.on_room_join(send_member_list);
    hub.on_room_leave(send_member_list);
    hub.on_error(disconnect_invalid);
    hub
}

/// Checks the name, which has to be unique. A user who reconnects gets the name back even if the
/// old connection has not timed out yet: a ping detects that it is dead.
async fn admit(socket: Socket) -> Result<(), ConnectRejection> {
    let request = socket.request().ok_or_else(|| ConnectRejection::new("no request"))?;
    let name = request.query("name").unwrap_or_default().trim().to_owned();
    if !is_valid_name(&name, |c| c.is_alphanumeric() || " .'-_".contains(c)) {
        return Err(ConnectRejection::new(format!(
            "A name has 1 to {MAX_NAME} letters, digits, spaces."
        )));
    }
    let id = name.to_lowercase();
    if let Some(other) = socket.hub().socket(&id) {
        if is_alive(&other).await {
            return Err(ConnectRejection::new("Somebody else uses this name."));
        }
        // Frees the id.
        let _ = other.set_id(socket.id());
        let _ = other.close(StatusCode::GOING_AWAY, "");
    }
    socket.set_id(id)?;
    socket.attributes().insert(Name(name));
    Ok(())
}

async fn is_alive(socket: &Socket) -> bool {
    let Some(conn) = socket.conn() else { return false };
    matches!(timeout(PING_TIMEOUT, conn.ping()).await, Ok(Ok(_)))
}

async fn join(
    socket: Socket,
    State(history): State<Mutex<History>>,
    Json(Join { room, after }): Json<Join>,
) -> Result<()> {
    rate_limit(&socket).await;
    if !is_valid_name(&room, |c| c == '-' || (c.is_alphanumeric() && !c.is_uppercase())) {
        return Ok(());
    }
    let (hub, mut history) = (socket.hub(), history.lock());
    let is_empty = |room: &str| hub.to(room).count() == 0;
    if socket.rooms().len() >= MAX_ROOMS || !history.create_room(&room, is_empty) {
        return Ok(socket.emit("full", &room)?);
    }
    socket.join(&room)?;
    Ok(socket.emit("history", &(&room, history.since(&room, after)))?)
}

async fn leave(socket: Socket, Json(room): Json<String>) {
    rate_limit(&socket).await;
    socket.leave(room);
}

/// Sends a message to a room or to one user.
async fn say(
    socket: Socket,
    Attribute(Name(from)): Attribute<Name>,
    State(history): State<Mutex<History>>,
    Json(Say { to, text, key }): Json<Say>,
) -> Result<()> {
    rate_limit(&socket).await;
    let text = text.trim().to_owned();
    let lengths = [(&to, MAX_NAME + 1), (&text, MAX_TEXT), (&key, MAX_KEY)];
    if text.is_empty() || lengths.iter().any(|(text, max)| text.chars().count() > *max) {
        return Ok(());
    }
    let (hub, mut history) = (socket.hub(), history.lock());
    let message = ChatMessage { at: history.next_timestamp(), from, text, key, to };
    if let Some(name) = message.to.strip_prefix('@') {
        match hub.socket(name.to_lowercase()) {
            Some(other) => _ = hub.ids([other.id(), socket.id()]).emit("said", &message)?,
            None => socket.emit("absent", &message.key)?,
        }
    } else if socket.is_in(&message.to) {
        hub.to(&message.to).emit("said", &message)?;
        history.push(message);
    }
    Ok(())
}

/// Volatile: skips users whose send queue is not empty.
async fn typing(
    socket: Socket,
    Attribute(Name(name)): Attribute<Name>,
    Json(to): Json<String>,
) -> Result<()> {
    rate_limit(&socket).await;
    let others = match to.strip_prefix('@') {
        Some(user) => socket.hub().ids([user.to_lowercase()]),
        None if socket.is_in(&to) => socket.to(&to),
        None => return Ok(()),
    };
    others.volatile().emit("typing", &(to, name))?;
    Ok(())
}

/// Sends the members of the room to the room, and all rooms to all users.
///
/// Complete lists are simple and cannot diverge. For rooms with thousands of users, send changes.
async fn send_member_list(
    socket: Socket,
    Room(room): Room,
    State(history): State<Mutex<History>>,
) -> Result<(), EncodeError> {
    let hub = socket.hub();
    // The lock orders the lists, so the newest is sent last.
    let history = history.lock();
    let sockets = hub.to(&room).sockets();
    let users: BTreeSet<_> =
        sockets.iter().filter_map(|socket| Some(socket.attributes().get::<Name>()?.0)).collect();
    hub.to(&room).emit("here", &(&*room, users))?;
    let rooms: Vec<_> = history.rooms().map(|room| (room, hub.to(room).count())).collect();
    hub.emit("rooms", &rooms)?;
    Ok(())
}

/// Closes the connection after an invalid event, which the page never sends.
async fn disconnect_invalid(socket: Socket, fault: EventError) {
    if matches!(fault, EventError::Malformed(_) | EventError::InvalidArgument { .. }) {
        let _ = socket.close(StatusCode::POLICY_VIOLATION, "invalid message");
    }
}

/// Waits while the user exceeds the rate limit. The handlers of a socket run one after the other,
/// so this delays its later events and finally applies backpressure to the client. Nothing is
/// lost.
async fn rate_limit(socket: &Socket) {
    #[derive(Clone)]
    struct NextSlot(Instant);

    let now = Instant::now();
    let next = socket.attributes().get().map_or(now, |NextSlot(next)| next.max(now)) + INTERVAL;
    socket.attributes().insert(NextSlot(next));
    sleep_until(next.checked_sub(INTERVAL * BURST).unwrap_or(now)).await;
}

fn is_valid_name(name: &str, allowed: fn(char) -> bool) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && name.chars().all(allowed)
}
