//! Who is present on one node, with paused time?

use std::time::Duration;

use serde_json::json;
use ws_core::{Conn, pair};
use ws_events::{
    Hub, Presence, PresenceChange, PresenceChanges, PresenceEntry, PresenceError, PresenceList,
    PresenceOptions, Socket,
};

/// Lets time pass, which is paused otherwise.
async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await; // tidy: sleep is the subject
}

/// A socket of a hub, and its peer.
async fn connect(hub: &Hub) -> (Socket, Conn) {
    let (client, server) = pair();
    let known = hub.everyone().sockets();
    tokio::spawn(hub.handler()(server));
    while hub.len() == known.len() {
        tokio::task::yield_now().await;
    }
    let is_new = |socket: &Socket| !known.contains(socket);
    (hub.everyone().sockets().into_iter().find(is_new).unwrap(), client)
}

fn entry(sign: &str, entry: &PresenceEntry) -> String {
    format!("{sign}{}:{}", entry.key, entry.meta_json())
}

fn text_of_list(list: &PresenceList) -> String {
    let entries = list.values().flatten().map(|it| entry("", it));
    entries.collect::<Vec<_>>().join(" ")
}

fn text_of_change(change: &PresenceChange) -> String {
    match change {
        PresenceChange::List(list) => format!("[{}]", text_of_list(list)),
        PresenceChange::Diff(diff) => {
            let joins = diff.joins.iter().map(|it| entry("+", it));
            let updates = diff.updates.iter().map(|it| entry("~", it));
            let leaves = diff.leaves.iter().map(|it| entry("-", it));
            joins.chain(updates).chain(leaves).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The changes that wait, applied to a list.
fn take(changes: &mut PresenceChanges, list: &mut PresenceList) -> Vec<String> {
    use futures::FutureExt as _;
    let mut texts = Vec::new();
    while let Some(change) = changes.next().now_or_never() {
        let change = change.unwrap();
        texts.push(text_of_change(&change));
        match change {
            PresenceChange::List(whole) => *list = whole,
            PresenceChange::Diff(diff) => list.apply(&diff),
        }
    }
    texts
}

/// What is done with the presence of one room.
enum Step {
    /// A socket, a key and metadata.
    Track(usize, &'static str, u32),
    Update(usize, &'static str, u32),
    Untrack(usize, &'static str),
    /// The peer of a socket is gone.
    End(usize),
    /// Milliseconds.
    Pass(u64),
    /// Who is in the list.
    List(&'static str),
    /// What the reader has got.
    Changes(&'static [&'static str]),
}

use Step::{Changes, End, List, Pass, Track, Untrack, Update};

async fn check(name: &str, steps: &[Step]) {
    let hub = Hub::new();
    let presence = hub.presence("room");
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (socket, peer) = connect(&hub).await;
        peers.push((socket, Some(peer)));
    }
    let (mut changes, mut known) = (presence.changes(), PresenceList::default());
    assert_eq!(take(&mut changes, &mut known), ["[]"]);
    for (at, step) in steps.iter().enumerate() {
        let what = format!("{name}, step {at}");
        match step {
            Track(socket, key, meta) => presence.track(&peers[*socket].0, key, meta).unwrap(),
            Update(socket, key, meta) => presence.update(&peers[*socket].0, key, meta).unwrap(),
            Untrack(socket, key) => assert!(presence.untrack(&peers[*socket].0, key), "{what}"),
            End(socket) => {
                drop(peers[*socket].1.take());
                while peers[*socket].0.is_alive() || hub.socket(peers[*socket].0.id()).is_some() {
                    tokio::task::yield_now().await;
                }
            }
            Pass(millis) => pass(*millis).await,
            List(expected) => assert_eq!(text_of_list(&presence.list()), *expected, "{what}"),
            Changes(expected) => {
                assert_eq!(take(&mut changes, &mut known), *expected, "{what}");
                assert_eq!(known, presence.list(), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_is_exact_at_once_and_changes_come_together() {
    check(
        "several devices of a key",
        &[
            Track(0, "ann", 1),
            Track(1, "bob", 2),
            Track(2, "ann", 3),
            List("ann:1 ann:3 bob:2"),
            Pass(201),
            Changes(&["+ann:1 +bob:2 +ann:3"]),
            Untrack(0, "ann"),
            List("ann:3 bob:2"),
            Pass(201),
            Changes(&["-ann:1"]),
        ],
    )
    .await;
    check(
        "metadata",
        &[
            Track(0, "ann", 1),
            Update(0, "ann", 2),
            Pass(201),
            Changes(&["+ann:2"]),
            Track(0, "ann", 3),
            List("ann:3"),
            Pass(201),
            Changes(&["~ann:3"]),
            // The same again.
            Update(0, "ann", 4),
            Update(0, "ann", 3),
            Pass(201),
            Changes(&[]),
        ],
    )
    .await;
    check(
        "what comes and goes within the interval is not told",
        &[Track(0, "ann", 1), Untrack(0, "ann"), List(""), Pass(201), Changes(&[])],
    )
    .await;
    check(
        "one socket by several keys",
        &[
            Track(0, "ann", 1),
            Track(0, "bob", 2),
            Pass(201),
            Changes(&["+ann:1 +bob:2"]),
            End(0),
            Pass(11_000),
            Changes(&["-ann:1 -bob:2"]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_leaves_when_its_socket_has_been_gone_for_the_grace_period() {
    check(
        "it does not come back",
        &[
            Track(0, "ann", 1),
            Pass(201),
            Changes(&["+ann:1"]),
            End(0),
            Pass(9_900),
            List("ann:1"),
            Changes(&[]),
            Pass(99),
            List("ann:1"),
            Pass(2),
            List(""),
            Pass(201),
            Changes(&["-ann:1"]),
        ],
    )
    .await;
    check(
        "it comes back",
        &[
            Track(0, "ann", 1),
            Pass(201),
            Changes(&["+ann:1"]),
            End(0),
            Pass(9_000),
            Track(1, "ann", 1),
            List("ann:1"),
            Pass(20_000),
            List("ann:1"),
            Changes(&[]),
        ],
    )
    .await;
    check(
        "it comes back with other metadata",
        &[
            Track(0, "ann", 1),
            Pass(201),
            Changes(&["+ann:1"]),
            End(0),
            Track(1, "ann", 2),
            Pass(20_000),
            List("ann:2"),
            Changes(&["~ann:2"]),
        ],
    )
    .await;
    check(
        "of two devices, the one with the same metadata comes back",
        &[
            Track(0, "ann", 1),
            Track(1, "ann", 2),
            Pass(201),
            Changes(&["+ann:1 +ann:2"]),
            End(0),
            End(1),
            Track(2, "ann", 2),
            List("ann:1 ann:2"),
            Pass(11_000),
            Changes(&["-ann:1"]),
            End(2),
            Pass(11_000),
            Changes(&["-ann:2"]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_period_a_device_leaves_with_its_socket() {
    let hub = Hub::builder().presence(PresenceOptions::new().grace(Duration::ZERO)).build();
    let (socket, peer) = connect(&hub).await;
    let presence = hub.presence("room");
    presence.track(&socket, "ann", "phone").unwrap();
    assert_eq!(presence.list()["ann"][0].meta::<String>().unwrap(), "phone");
    drop(peer);
    while !hub.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(presence.list().is_empty());
}

/// Shorter than the default limits.
fn limited() -> Hub {
    let options = PresenceOptions::new()
        .meta_bytes(4)
        .keys_per_room(2)
        .devices_per_key(2)
        .entries(5)
        .interval(Duration::ZERO);
    Hub::builder().presence(options).build()
}

#[track_caller]
fn refused(result: Result<(), PresenceError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_a_limit_is_refused_and_names_the_setting() {
    let hub = limited();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(connect(&hub).await);
    }
    let [one, two, three] = [0, 1, 2].map(|at| &sockets[at].0);
    let [room, other]: [Presence; 2] = ["room", "other"].map(|room| hub.presence(room));

    room.track(one, "ann", "12").unwrap();
    let text = refused(room.track(one, "ann", "123"));
    assert_eq!(text, "the metadata has 5 bytes, and `PresenceOptions::meta_bytes` allows 4");
    assert_eq!(refused(room.update(one, "ann", "123")), text);
    assert_eq!(text_of_list(&room.list()), "ann:\"12\"");

    room.track(two, "ann", &1).unwrap();
    let text = refused(room.track(three, "ann", &1));
    assert_eq!(text, "`PresenceOptions::devices_per_key` allows 2 devices of a key");
    // What is tracked already is no further device.
    room.track(two, "ann", &2).unwrap();

    room.track(one, "bob", &1).unwrap();
    let text = refused(room.track(one, "cid", &1));
    assert_eq!(text, "`PresenceOptions::keys_per_room` allows 2 keys in a room");

    other.track(one, "ann", &1).unwrap();
    other.track(two, "ann", &1).unwrap();
    let text = refused(other.track(one, "bob", &1));
    assert_eq!(text, "`PresenceOptions::entries` allows 5 entries of a node");
    assert!(other.untrack(one, "ann"));
    other.track(one, "bob", &1).unwrap();

    let long = "x".repeat(257);
    for text in
        [refused(room.track(one, &long, &1)), refused(hub.presence(&long).track(one, "ann", &1))]
    {
        assert_eq!(text, "the name of a room and a key have at most 256 bytes, not 257");
    }
    let most = "x".repeat(256);
    assert!(other.untrack(one, "bob"));
    hub.presence(&most).track(one, &most, &1).unwrap();
    assert_eq!(hub.presence(&most).list().len(), 1);
    assert_eq!(
        PresenceOptions::new().meta_bytes(usize::MAX),
        PresenceOptions::new().meta_bytes(16 * 1024)
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_connected_socket_of_the_hub_is_tracked() {
    let (hub, other) = (Hub::new(), Hub::new());
    let ((socket, peer), (stranger, _peer)) = (connect(&hub).await, connect(&other).await);
    let presence = hub.presence("room");
    assert!(matches!(presence.track(&stranger, "ann", &1), Err(PresenceError::NotConnected)));
    assert!(matches!(presence.update(&socket, "ann", &1), Err(PresenceError::NotTracked)));
    assert!(!presence.untrack(&socket, "ann"));
    drop(peer);
    while !hub.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(presence.track(&socket, "ann", &1), Err(PresenceError::NotConnected)));
    let unserialisable = std::collections::BTreeMap::from([((), ())]);
    assert!(matches!(presence.track(&socket, "ann", &unserialisable), Err(PresenceError::Json(_))));
    assert!(presence.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_disconnect_cannot_leave_a_ghost() {
    let hub = Hub::new();
    hub.on_disconnect(async |socket: Socket| {
        socket.hub().presence("room").track(&socket, "late", &1).unwrap();
    });
    hub.on_room_leave(async |socket: Socket| {
        assert!(socket.hub().presence("room").track(&socket, "too late", &1).is_err());
    });
    let (socket, peer) = connect(&hub).await;
    socket.join("red").unwrap();
    drop(peer);
    while hub.socket(socket.id()).is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text_of_list(&hub.presence("room").list()), "late:1");
    pass(10_001).await;
    assert!(hub.presence("room").list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn rooms_and_namespaces_have_lists_of_their_own() {
    let hub = Hub::new();
    let admin = hub.of("/admin");
    let ((user, peer), (root, _peer)) = (connect(&hub).await, connect(&admin).await);
    hub.presence("room").track(&user, "ann", &1).unwrap();
    hub.presence("other").track(&user, "ann", &2).unwrap();
    admin.presence("room").track(&root, "bob", &3).unwrap();
    let lists = [hub.presence("room"), hub.presence("other"), admin.presence("room")];
    assert_eq!(lists.map(|it| text_of_list(&it.list())), ["ann:1", "ann:2", "bob:3"]);
    drop(peer);
    while !hub.is_empty() {
        tokio::task::yield_now().await;
    }
    pass(10_001).await;
    let lists = [hub.presence("room"), hub.presence("other"), admin.presence("room")];
    assert_eq!(lists.map(|it| text_of_list(&it.list())), ["", "", "bob:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_keep_up_gets_the_whole_list() {
    let hub = Hub::new();
    let (socket, _peer) = connect(&hub).await;
    let presence = hub.presence("room");
    let (mut slow, mut fast) = (presence.changes(), presence.changes());
    let (mut slow_list, mut fast_list) = (PresenceList::default(), PresenceList::default());
    assert_eq!(take(&mut slow, &mut slow_list), ["[]"]);
    take(&mut fast, &mut fast_list);
    for (count, waiting) in [(16, 16), (17, 1), (100, 1)] {
        for number in 0..count {
            presence.track(&socket, "ann", &(count, number)).unwrap();
            pass(201).await;
            assert_eq!(take(&mut fast, &mut fast_list).len(), 1);
        }
        let changes = take(&mut slow, &mut slow_list);
        assert_eq!(changes.len(), waiting, "{count}");
        assert_eq!(changes[0].starts_with('['), waiting == 1);
        assert_eq!((&slow_list, &fast_list), (&presence.list(), &presence.list()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_reader_gets_the_list_and_then_all_that_changes_it() {
    let hub = Hub::new();
    let (socket, _peer) = connect(&hub).await;
    let presence = hub.presence("room");
    let (mut early, mut list) = (presence.changes(), PresenceList::default());
    take(&mut early, &mut list);
    presence.track(&socket, "ann", &1).unwrap();
    let (mut late, mut late_list) = (presence.changes(), PresenceList::default());
    assert_eq!(take(&mut late, &mut late_list), ["[ann:1]"]);
    assert_eq!(take(&mut early, &mut list), ["+ann:1"]);
    presence.untrack(&socket, "ann");
    pass(201).await;
    assert_eq!(take(&mut late, &mut late_list), ["-ann:1"]);
    assert_eq!(take(&mut early, &mut list), ["-ann:1"]);
}

#[tokio::test(start_paused = true)]
async fn changes_end_with_the_hub() {
    let hub = Hub::new();
    let mut changes = hub.of("/admin").presence("room").changes();
    assert_eq!(changes.next().await, Some(PresenceChange::List(PresenceList::default())));
    let waiting = tokio::spawn(async move { changes.next().await });
    pass(1).await;
    drop(hub);
    assert_eq!(waiting.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn lists_and_changes_are_json_for_a_page() {
    let hub = Hub::new();
    let (socket, _peer) = connect(&hub).await;
    let presence = hub.presence("room");
    let mut changes = presence.changes();
    changes.next().await.unwrap();
    presence.track(&socket, "ann", &json!({ "away": false })).unwrap();
    let ann = json!({ "key": "ann", "device": 1, "meta": { "away": false } });
    assert_eq!(serde_json::to_value(presence.list()).unwrap(), json!({ "ann": [ann] }));
    let change = serde_json::to_value(changes.next().await.unwrap()).unwrap();
    assert_eq!(change, json!({ "diff": { "joins": [ann], "updates": [], "leaves": [] } }));
    let list = serde_json::to_value(presence.changes().next().await.unwrap()).unwrap();
    assert_eq!(list, json!({ "list": { "ann": [ann] } }));
}

#[test]
fn a_socket_is_tracked_from_a_thread_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let hub = Hub::new();
        let (socket, _peer) = connect(&hub).await;
        let mut changes = hub.presence("room").changes();
        changes.next().await;
        let track = move || hub.presence("room").track(&socket, "ann", &1).map(|()| hub);
        let hub = std::thread::spawn(track).join().unwrap().unwrap();
        assert_eq!(text_of_change(&changes.next().await.unwrap()), "+ann:1");
        drop(hub);
    });
}

#[test]
fn changes_go_on_when_the_runtime_of_a_socket_has_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let hub =
        Hub::builder().presence(PresenceOptions::new().grace(Duration::from_millis(1))).build();
    let (first, second) = (runtime(), runtime());
    let mut changes = hub.presence("room").changes();
    let peer = first.block_on(async {
        let (socket, peer) = connect(&hub).await;
        hub.presence("room").track(&socket, "ann", &1).unwrap();
        let mut changes = hub.presence("room").changes();
        changes.next().await;
        // The task runs.
        hub.presence("room").update(&socket, "ann", &2).unwrap();
        changes.next().await;
        peer
    });
    drop((first, peer));
    second.block_on(async {
        let mut list = PresenceList::default();
        while list.is_empty() {
            take(&mut changes, &mut list);
        }
        // Any call finds that the task is gone.
        while !hub.presence("room").list().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(text_of_change(&changes.next().await.unwrap()), "-ann:2");
    });
}
