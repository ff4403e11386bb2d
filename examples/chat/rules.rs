//! What happens when somebody comes, enters a room, says something?

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

use crate::archive::{Archive, Said};

/// The longest name of a person or a room, the longest text and its key, in characters.
const NAME: usize = 24;
const TEXT: usize = 2_000;
const KEY: usize = 40;

/// How many rooms one person may be in.
const ROOMS: usize = 10;

/// So many things somebody may do at once, and then one in so long.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_millis(250);

/// How long we wait for a sign of life.
const PATIENCE: Duration = Duration::from_secs(3);

/// A person's name, kept with the socket. In small letters, it is the socket's id.
#[derive(Clone)]
struct Name(String);

#[derive(Deserialize)]
struct Join {
    room: String,
    /// What the page has already, up to this time.
    after: u64,
}

#[derive(Deserialize)]
struct Say {
    to: String,
    text: String,
    key: String,
}

pub(crate) fn hub() -> Hub {
    let mut archive = Archive::default();
    for room in ["general", "random"] {
        archive.open(room, |_| false);
    }
    // It is locked while something is told, which never waits for anybody: so all hear the
    // same in one order, and who enters misses nothing.
    let hub = Hub::builder().envelope().state(Mutex::new(archive)).build();
    hub.middleware(enter);
    hub.on("join", join);
    hub.on("leave", leave);
    hub.on("say", say);
    hub.on("typing", typing);
    // The page asks whether we are there: a browser does not let it ping.
    hub.on("beat", async |socket: Socket| socket.emit("beat", &()));
    hub.on_room_join(tell_who_is_here);
    hub.on_room_leave(tell_who_is_here);
    hub.on_error(turn_out);
    hub
}

/// Names are unique. Whoever lost its connection gets its own back, even if nobody has
/// noticed the loss yet.
async fn enter(socket: Socket) -> Result<(), ConnectRejection> {
    let request = socket.request().ok_or_else(|| ConnectRejection::new("no request"))?;
    let name = request.query("name").unwrap_or_default().trim().to_owned();
    if !fits(&name, |c| c.is_alphanumeric() || " .'-_".contains(c)) {
        return Err(ConnectRejection::new(format!(
            "A name has 1 to {NAME} letters, digits, spaces."
        )));
    }
    let id = name.to_lowercase();
    if let Some(other) = socket.hub().socket(&id) {
        if is_there(&other).await {
            return Err(ConnectRejection::new("Somebody else has this name already."));
        }
        // They change their ids.
        let _ = other.set_id(socket.id());
        let _ = other.close(StatusCode::GOING_AWAY, "");
    }
    socket.set_id(id)?;
    socket.attributes().insert(Name(name));
    Ok(())
}

async fn is_there(socket: &Socket) -> bool {
    let Some(conn) = socket.conn() else { return false };
    matches!(timeout(PATIENCE, conn.ping()).await, Ok(Ok(_)))
}

async fn join(
    socket: Socket,
    State(archive): State<Mutex<Archive>>,
    Json(Join { room, after }): Json<Join>,
) -> Result<()> {
    take_turn(&socket).await;
    if !fits(&room, |c| c == '-' || (c.is_alphanumeric() && !c.is_uppercase())) {
        return Ok(());
    }
    let (hub, mut archive) = (socket.hub(), archive.lock());
    let is_empty = |room: &str| hub.to(room).count() == 0;
    if socket.rooms().len() >= ROOMS || !archive.open(&room, is_empty) {
        return Ok(socket.emit("full", &room)?);
    }
    socket.join(&room)?;
    Ok(socket.emit("history", &(&room, archive.since(&room, after)))?)
}

async fn leave(socket: Socket, Json(room): Json<String>) {
    take_turn(&socket).await;
    socket.leave(room);
}

/// Into a room, or to one person.
async fn say(
    socket: Socket,
    Attribute(Name(from)): Attribute<Name>,
    State(archive): State<Mutex<Archive>>,
    Json(Say { to, text, key }): Json<Say>,
) -> Result<()> {
    take_turn(&socket).await;
    let text = text.trim().to_owned();
    let lengths = [(&to, NAME + 1), (&text, TEXT), (&key, KEY)];
    if text.is_empty() || lengths.iter().any(|(text, most)| text.chars().count() > *most) {
        return Ok(());
    }
    let (hub, mut archive) = (socket.hub(), archive.lock());
    let said = Said { at: archive.now(), from, text, key, to };
    if let Some(name) = said.to.strip_prefix('@') {
        match hub.socket(name.to_lowercase()) {
            Some(other) => _ = hub.ids([other.id(), socket.id()]).emit("said", &said)?,
            None => socket.emit("absent", &said.key)?,
        }
    } else if socket.is_in(&said.to) {
        hub.to(&said.to).emit("said", &said)?;
        archive.keep(said);
    }
    Ok(())
}

/// Who does not keep up need not know.
async fn typing(
    socket: Socket,
    Attribute(Name(name)): Attribute<Name>,
    Json(to): Json<String>,
) -> Result<()> {
    take_turn(&socket).await;
    let others = match to.strip_prefix('@') {
        Some(person) => socket.hub().ids([person.to_lowercase()]),
        None if socket.is_in(&to) => socket.to(&to),
        None => return Ok(()),
    };
    others.volatile().emit("typing", &(to, name))?;
    Ok(())
}

/// Whole lists, since a list cannot be misunderstood by those who come and go. With
/// thousands in a room, one would tell the changes.
async fn tell_who_is_here(
    socket: Socket,
    Room(room): Room,
    State(archive): State<Mutex<Archive>>,
) -> Result<(), EncodeError> {
    let hub = socket.hub();
    // One after the other: an old list must not be the last.
    let archive = archive.lock();
    let sockets = hub.to(&room).sockets();
    let people: BTreeSet<_> =
        sockets.iter().filter_map(|socket| Some(socket.attributes().get::<Name>()?.0)).collect();
    hub.to(&room).emit("here", &(&*room, people))?;
    let rooms: Vec<_> = archive.rooms().map(|room| (room, hub.to(room).count())).collect();
    hub.emit("rooms", &rooms)?;
    Ok(())
}

/// Our page makes no mistakes of this kind.
async fn turn_out(socket: Socket, error: EventError) {
    if matches!(error, EventError::Malformed(_) | EventError::InvalidArgument { .. }) {
        let _ = socket.close(StatusCode::POLICY_VIOLATION, "This is no message of the chat.");
    }
}

/// Waits, if somebody is too quick. The handlers of a socket run one after the other, so
/// all else that it sends waits, too, in the end in its peer; and nothing is lost.
async fn take_turn(socket: &Socket) {
    #[derive(Clone)]
    struct Due(Instant);

    let now = Instant::now();
    let due = socket.attributes().get().map_or(now, |Due(due)| due.max(now)) + EVERY;
    socket.attributes().insert(Due(due));
    sleep_until(due.checked_sub(EVERY * BURST).unwrap_or(now)).await;
}

fn fits(name: &str, allowed: fn(char) -> bool) -> bool {
    (1..=NAME).contains(&name.chars().count()) && name.chars().all(allowed)
}
