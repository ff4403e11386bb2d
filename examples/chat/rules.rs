//! What does the server do when a user connects, joins a room or sends a message?

use std::collections::BTreeMap;
use std::num::NonZero;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use ws_events::{
    Attribute, Conn, ConnectRejection, EventError, History, Hub, Json, PresenceOptions, Recovery,
    Room, Socket, State, StatusCode,
};

use crate::cluster;
use crate::names::{self, MAX_NAME};
use crate::rooms::{self, ChatMessage, LastTimestamp, MAX_HISTORY, Rooms};

/// Maximum lengths in characters: of a text, of its key.
const MAX_TEXT: usize = 2_000;
const MAX_KEY: usize = 40;

/// The maximum number of rooms of a user.
const MAX_ROOMS: usize = 10;

/// The number of events that a user may send at once, above the rate.
const BURST: u32 = 10;

/// The interval of pings, and how long their pongs may take until the user is doubtful, and is
/// disconnected. Other users see within 5 s that a user may be gone, and within 30 s that the user
/// is.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const DOUBT_TIMEOUT: Duration = Duration::from_millis(2_500);
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Who is back within this time, such as by reloading the page, has not left.
const GRACE: Duration = Duration::from_secs(2);

const _: () = {
    let doubtful = PING_INTERVAL.as_millis() + DOUBT_TIMEOUT.as_millis();
    let gone = doubtful + PONG_TIMEOUT.as_millis() + GRACE.as_millis();
    assert!(doubtful <= 5_000 && gone <= 30_000);
};

/// How long changes of the member lists are collected.
const INTERVAL: Duration = Duration::from_millis(20);

/// When the lists are sent again, if a user could not get them.
const RETRY: Duration = Duration::from_secs(1);

/// The pong timeout for a user whose name is requested by another connection, and how long the name
/// may take to be free then.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const FREE_TIMEOUT: Duration = Duration::from_secs(3);

const NAME_IS_USED: &str = "Somebody else uses this name.";

/// How long the history of a room keeps a message.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest secret of a device, in bytes.
const MAX_SECRET: usize = 64;

/// The user's name, an attribute of the socket. A user may have several devices, a socket each.
#[derive(Clone)]
struct Name(String);

/// What the tabs of one browser have in common, by a cookie: only with the same one, a device has the
/// name of another device.
#[derive(Clone)]
struct Secret(String);

/// A device of a user in a room, in any process: the metadata of presence, and an attribute of the socket.
#[derive(Clone, Deserialize, Serialize)]
struct Member {
    name: String,
    /// Whether the device has not answered the last ping so far.
    is_doubtful: bool,
    /// Whether nobody looks at it.
    is_away: bool,
}

/// The state of the chat. `rooms` is locked first.
pub(crate) struct Chat {
    pub(crate) rooms: Mutex<Rooms>,
    last_timestamp: LastTimestamp,
    /// The tasks that send the member lists of the rooms.
    watches: Mutex<BTreeMap<String, AbortHandle>>,
    /// The interval of a user's events, after a burst.
    interval: Duration,
}

#[derive(Deserialize)]
struct Join {
    room: String,
}

#[derive(Deserialize)]
struct Say {
    to: String,
    text: String,
    key: String,
    /// The connection was lost before the confirmation.
    #[serde(default)]
    again: bool,
}

/// A chat whose users may send so many events per second, as one of several processes if there is a
/// broker.
pub(crate) fn hub(rate: NonZero<u32>, broker: Option<&str>) -> Result<Hub> {
    let interval = Duration::from_secs(1) / rate.get();
    let (rooms, last_timestamp) = (Mutex::default(), LastTimestamp::default());
    let chat = Chat { rooms, last_timestamp, watches: Mutex::default(), interval };
    let presence = PresenceOptions::new().grace(GRACE).interval(INTERVAL);
    let history = History::new().messages(MAX_HISTORY).age(MAX_AGE);
    // A token is worth nothing under another name.
    let recovery = Recovery::new().user(user_id);
    let builder = Hub::builder().envelope().state(chat).presence(presence);
    // The rooms and the users are limited, so each may have a history.
    let builder = builder.history("*", history);
    let hub = match broker {
        Some(url) => cluster::build(builder, recovery, url)?,
        None => builder.recovery(recovery).build(),
    };
    cluster::join(&hub);
    if let Some(chat) = hub.state::<Chat>() {
        for room in ["general", "random"] {
            open_room(&hub, &chat, &mut chat.rooms.lock(), room);
        }
    }
    hub.middleware(admit);
    hub.on_connect(connect);
    hub.on("join", join);
    hub.on("leave", leave);
    hub.on("say", say);
    hub.on("typing", typing);
    hub.on("away", away);
    // The heartbeat of the page. JavaScript cannot send pings. An answer is no event, which would be
    // missed if it is lost.
    hub.on("beat", async || Json(()));
    hub.on_room_join(enter);
    hub.on_room_leave(exit);
    hub.on_error(disconnect_invalid);
    Ok(hub)
}

/// Checks the name, which has to be unique, but for the devices with one secret. A user who reconnects
/// gets the name back even if the old connection has not timed out yet: a ping detects that it is dead.
async fn admit(socket: Socket) -> Result<(), ConnectRejection> {
    let request = socket.request().ok_or_else(|| ConnectRejection::new("no request"))?;
    let Some(name) = names::user_name(&request.query("name").unwrap_or_default()) else {
        return Err(ConnectRejection::new(format!(
            "A name has 1 to {MAX_NAME} characters: at least one letter, digit or emoji, and spaces, . ' - or _."
        )));
    };
    let (hub, id) = (socket.hub(), names::id(&name));
    let secret = request.cookie("chat").filter(|secret| (1..=MAX_SECRET).contains(&secret.len()));
    // Without one, it is the only device.
    let secret = secret.map_or_else(|| socket.id().to_string(), str::to_owned);
    let own = devices(&name, &secret);
    if !is_own(&hub, &id, &own).await {
        for other in hub.to(inbox(&id)).local().sockets() {
            if is_alive(&other).await {
                return Err(ConnectRejection::new(NAME_IS_USED));
            }
            // The connection is lost, and the session waits for its user, who may be this one.
            other.conn().iter().for_each(Conn::close_now);
        }
        let is_free = async {
            while hub.to(inbox(&id)).local().count() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(FREE_TIMEOUT, is_free).await;
        if !is_own(&hub, &id, &own).await {
            return Err(ConnectRejection::new(NAME_IS_USED));
        }
    }
    let member = Member { name: name.clone(), is_doubtful: false, is_away: false };
    socket.attributes().insert(member);
    socket.attributes().insert(Name(name));
    socket.attributes().insert(Secret(secret));
    Ok(())
}

/// Whether all devices of a user are in this room of devices, in any process.
async fn is_own(hub: &Hub, id: &str, own: &str) -> bool {
    let all = hub.to(inbox(id)).fetch_count().await.value;
    all == 0 || all == hub.to(own).fetch_count().await.value
}

fn user_id(socket: &Socket) -> Option<String> {
    let Name(name) = socket.attributes().get()?;
    Some(names::id(&name))
}

/// A device is connected. Of two that come at once with different secrets, none has the name.
async fn connect(
    socket: Socket,
    Attribute(Name(name)): Attribute<Name>,
    Attribute(Secret(secret)): Attribute<Secret>,
) -> Result<()> {
    let (hub, id) = (socket.hub(), names::id(&name));
    let (all, own) = (inbox(&id), devices(&name, &secret));
    socket.join(&own)?;
    socket.join(&all)?;
    if hub.to(all).local().count() != hub.to(own).local().count() {
        return Ok(socket.close(StatusCode::POLICY_VIOLATION, NAME_IS_USED)?);
    }
    tokio::spawn(check_pongs(socket));
    Ok(())
}

/// Pings a user until the connection ends. Who does not answer is doubtful, and is disconnected
/// later. Browsers answer pings even if the page sleeps.
async fn check_pongs(socket: Socket) {
    let Some(conn) = socket.conn() else { return };
    loop {
        sleep(PING_INTERVAL).await;
        let mut pong = pin!(conn.ping());
        match timeout(DOUBT_TIMEOUT, &mut pong).await {
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => return,
            Err(_) => set_doubtful(&socket, true),
        }
        match timeout(PONG_TIMEOUT, pong).await {
            Ok(Ok(_)) => set_doubtful(&socket, false),
            Ok(Err(_)) => return,
            Err(_) => return conn.close_now(),
        }
    }
}

fn set_doubtful(socket: &Socket, is_doubtful: bool) {
    change(socket, |member| member.is_doubtful = is_doubtful);
}

/// A device says whether anybody looks at it.
async fn away(socket: Socket, State(chat): State<Chat>, Json(is_away): Json<bool>) {
    rate_limit(&socket, &chat).await;
    change(&socket, |member| member.is_away = is_away);
}

/// Changes the metadata of a device in all its rooms.
fn change(socket: &Socket, change: impl FnOnce(&mut Member)) {
    let Some(mut member) = socket.attributes().get::<Member>() else { return };
    change(&mut member);
    socket.attributes().insert(member.clone());
    for room in socket.rooms() {
        // It fails if the user leaves the room at this time.
        let _ = socket.hub().presence(&room).update(socket, names::id(&member.name), &member);
    }
}

async fn is_alive(socket: &Socket) -> bool {
    let Some(conn) = socket.conn() else { return false };
    matches!(timeout(PING_TIMEOUT, conn.ping()).await, Ok(Ok(_)))
}

async fn join(
    socket: Socket,
    State(chat): State<Chat>,
    Json(Join { room }): Json<Join>,
) -> Result<()> {
    rate_limit(&socket, &chat).await;
    let Some(room) = names::room_name(&room) else {
        return Ok(socket.emit("refused", &room)?);
    };
    let hub = socket.hub();
    let rooms = socket.rooms();
    let has_many = rooms.iter().filter(|room| !room.starts_with('@')).count() >= MAX_ROOMS;
    if has_many || !open_room(&hub, &chat, &mut chat.rooms.lock(), &room) {
        return Ok(socket.emit("full", &room)?);
    }
    // First, so the user misses nothing that is said meanwhile. The page knows what it has.
    socket.join(&room)?;
    hub.server_emit("room", &room)?;
    Ok(socket.emit("history", &(&room, rooms::latest(&hub, &room).await))?)
}

async fn leave(socket: Socket, State(chat): State<Chat>, Json(room): Json<String>) {
    rate_limit(&socket, &chat).await;
    socket.leave(room);
}

/// Sends a message to a room or to one user.
async fn say(
    socket: Socket,
    Attribute(Name(from)): Attribute<Name>,
    State(chat): State<Chat>,
    Json(Say { to, text, key, again }): Json<Say>,
) -> Result<()> {
    rate_limit(&socket, &chat).await;
    let text = text.trim().to_owned();
    if let Some(why) = why_not(&socket, &to, &text, &key) {
        return Ok(socket.emit("rejected", &(key, why))?);
    }
    let hub = socket.hub();
    let places = match to.strip_prefix('@') {
        // Both get it, in any process. The sender last, who knows then that the other one has it.
        Some(name) => {
            let theirs = inbox(&names::id(name));
            if hub.to(&theirs).fetch_count().await.value == 0 {
                return Ok(socket.emit("absent", &key)?);
            }
            let own = inbox(&names::id(&from));
            if own == theirs { vec![own] } else { vec![theirs, own] }
        }
        None => vec![to.clone()],
    };
    let mut message = ChatMessage { at: 0, from, text, key, to };
    // What the sender gets, unless it is in the last place.
    let mut answer = None;
    for place in &places {
        // It may have been said, in all places or in the first one.
        let said = if again { rooms::latest(&hub, place).await } else { Vec::new() };
        let is_same = |it: &ChatMessage| it.key == message.key && it.from == message.from;
        if let Some(known) = said.into_iter().find(is_same) {
            answer = Some(known);
        } else if rooms::say(&hub, &chat.last_timestamp, place, &mut message).await? {
            answer = if Some(place) == places.last() { None } else { Some(message.clone()) };
        } else if answer.is_none() {
            return Ok(socket.emit("unsaid", &message.key)?);
        }
    }
    match answer {
        Some(said) => Ok(socket.emit("said", &said)?),
        None => Ok(()),
    }
}

/// Why a message is not said, for the page of its sender.
fn why_not(socket: &Socket, to: &str, text: &str, key: &str) -> Option<String> {
    let is_longer = |text: &str, max| text.chars().count() > max;
    if text.is_empty() || is_longer(text, MAX_TEXT) {
        return Some(format!("a message has 1 to {MAX_TEXT} characters"));
    }
    if is_longer(key, MAX_KEY) {
        return Some(format!("the key of a message has at most {MAX_KEY} characters"));
    }
    match to.strip_prefix('@') {
        Some(name) if is_longer(name, MAX_NAME) => {
            Some(format!("a name has at most {MAX_NAME} characters"))
        }
        None if !socket.is_in(to) => Some("you are not in this room".to_owned()),
        _ => None,
    }
}

/// The room of a user, for private messages. Names of other rooms have no `@`.
fn inbox(id: &str) -> String {
    format!("@{id}")
}

/// The room of the devices with one secret, which write the name in the same way. It gets no messages.
fn devices(name: &str, secret: &str) -> String {
    format!("@{name}\n{secret}")
}

/// Volatile: skips users whose send queue is not empty.
async fn typing(
    socket: Socket,
    Attribute(Name(name)): Attribute<Name>,
    State(chat): State<Chat>,
    Json(to): Json<String>,
) -> Result<()> {
    rate_limit(&socket, &chat).await;
    let others = match to.strip_prefix('@') {
        Some(user) => socket.to(inbox(&names::id(user))),
        None if socket.is_in(&to) => socket.to(&to),
        None => return Ok(()),
    };
    others.volatile().emit("typing", &(to, name))?;
    Ok(())
}

/// A user has joined a room. The members are its presence, by the ids of the users. One who is back within
/// the grace period is no change for the others, so the user alone gets the lists.
async fn enter(
    socket: Socket,
    Attribute(member): Attribute<Member>,
    Room(room): Room,
    State(chat): State<Chat>,
) -> Result<()> {
    let (hub, id) = (socket.hub(), names::id(&member.name));
    if room.starts_with('@') {
        return Ok(());
    }
    hub.presence(&room).track(&socket, id, &member)?;
    let known = chat.rooms.lock();
    socket.emit("here", &here(&hub, &room))?;
    Ok(socket.emit("rooms", &rooms(&hub, &known))?)
}

/// A user whose connection has ended is not tracked any more, and stays for the grace period.
async fn exit(socket: Socket, Room(room): Room) {
    socket.hub().presence(&room).untrack(&socket, user_id(&socket).unwrap_or_default());
}

/// Creates a room, unless it exists, and sends its member lists from now on. Returns whether the room
/// exists now.
pub(crate) fn open_room(hub: &Hub, chat: &Chat, rooms: &mut Rooms, room: &str) -> bool {
    if !rooms.create(room, |room| is_empty(hub, room)) {
        return false;
    }
    let mut watches = chat.watches.lock();
    watches.retain(|room, watch| {
        let is_open = rooms.names().any(|it| it == room);
        if !is_open {
            watch.abort();
        }
        is_open
    });
    let watch = || tokio::spawn(watch_room(hub.clone(), room.to_owned())).abort_handle();
    watches.entry(room.to_owned()).or_insert_with(watch);
    true
}

/// When the members of a room change, sends them to the room, and all rooms to all users, in this
/// process. The other processes do the same.
///
/// Complete lists are simple and cannot diverge. For rooms with thousands of users, send changes.
async fn watch_room(hub: Hub, room: String) {
    let mut changes = hub.presence(&room).changes();
    while changes.next().await.is_some() {
        while !tell_lists(&hub, &room) {
            sleep(RETRY).await;
        }
    }
}

/// Sends the lists, volatile: no history keeps them, and a user who is away has not missed them, because
/// the session comes back with those of that time. Returns `false` if a user has too much to read.
fn tell_lists(hub: &Hub, room: &str) -> bool {
    let Some(chat) = hub.state::<Chat>() else { return true };
    // The lock orders the lists, so the newest is sent last.
    let known = chat.rooms.lock();
    let members = hub.to(room).local().volatile().emit("here", &here(hub, room));
    let all = hub.everyone().local().volatile().emit("rooms", &rooms(hub, &known));
    [members, all].iter().flatten().all(|delivery| delivery.dropped == 0)
}

/// The members of a room, those of them who are doubtful, and those who are away: with all devices that
/// answer.
fn here<'a>(hub: &Hub, room: &'a str) -> (&'a str, Vec<String>, Vec<String>, Vec<String>) {
    let (mut names, mut doubtful, mut away) = (Vec::new(), Vec::new(), Vec::new());
    for devices in hub.presence(room).list().values() {
        let devices: Vec<Member> = devices.iter().filter_map(|it| it.meta().ok()).collect();
        let Some(Member { name, .. }) = devices.first() else { continue };
        let mut answering = devices.iter().filter(|device| !device.is_doubtful).peekable();
        if answering.peek().is_none() {
            doubtful.push(name.clone());
        } else if answering.all(|device| device.is_away) {
            away.push(name.clone());
        }
        names.push(name.clone());
    }
    [&mut names, &mut doubtful, &mut away].into_iter().for_each(|names| names.sort());
    (room, names, doubtful, away)
}

/// All rooms and the number of their members.
fn rooms<'a>(hub: &Hub, rooms: &'a Rooms) -> Vec<(&'a String, usize)> {
    rooms.names().map(|room| (room, hub.presence(room).list().len())).collect()
}

/// Whether no process has a member of a room.
fn is_empty(hub: &Hub, room: &str) -> bool {
    hub.presence(room).list().is_empty()
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
async fn rate_limit(socket: &Socket, chat: &Chat) {
    #[derive(Clone)]
    struct NextSlot(Instant);

    let now = Instant::now();
    let next = socket.attributes().get().map_or(now, |NextSlot(next)| next.max(now));
    let next = next + chat.interval;
    socket.attributes().insert(NextSlot(next));
    sleep_until(next.checked_sub(chat.interval * BURST).unwrap_or(now)).await;
}
