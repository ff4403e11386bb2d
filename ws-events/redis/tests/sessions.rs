//! Do hubs with a store of sessions in Redis give a client its session on any node, or say that it is new?
//!
//! Without `redis-server` the tests are skipped, and fail if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

#[path = "support/clients.rs"]
mod clients;
#[path = "support/servers.rs"]
mod servers;
#[path = "../../tests/support/session_store.rs"]
mod session_store;
#[path = "../../broker/tests/support/mod.rs"]
mod support;
#[path = "support/way.rs"]
mod way;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clients::{Client, LAST, send_numbers};
use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use servers::{RedisCluster, admin, start};
use session_store::{MINUTE, check};
use support::pointer::Pointer;
use support::{Server, free_port, pause, skip, within};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use way::Way;
use ws_core::{Conn, pair};
use ws_events::cluster::{ClusterConfig, Routing};
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::{
    Bytes, History, Hub, Position, Recovery, SessionStore, Socket, StatusCode, Stored,
};
use ws_events_redis::{DriverConfig, RedisBroker, RedisConfig, RedisHistory, RedisSessions};
use ws_events_socketio::SocketIo;

fn config(port: u16) -> RedisConfig {
    let driver = DriverConfig::new().max_backoff(Duration::from_millis(20));
    RedisConfig::new(format!("redis://127.0.0.1:{port}")).driver(driver)
}

fn store(config: RedisConfig) -> Arc<RedisSessions> {
    let store = RedisSessions::new(config).unwrap();
    store.start();
    Arc::new(store)
}

#[tokio::test]
async fn a_record_is_replaced_in_one_step_and_ends_with_its_time() {
    let Some(server) = start(&[]).await else { return };
    let (one, two) = (store(config(server.port)), store(config(server.port)));
    check([one, two], "key").await;
    let other = RedisSessions::new(config(server.port)).unwrap().prefix("other").unwrap();
    other.start();
    assert_eq!(other.replace("key", Bytes::new(), MINUTE).await, Ok(None), "another application");
    let mut admin = admin(server.port).await;
    let keys: Vec<String> =
        within(redis::cmd("KEYS").arg("*").query_async(&mut admin)).await.unwrap();
    let is_own = |key: &String| key == "ws:session:key" || key.starts_with("ws:session:key:");
    assert!(!keys.is_empty() && keys.iter().all(is_own), "{keys:?}");
}

#[tokio::test]
async fn a_redis_cluster_divides_the_sessions_among_its_masters() {
    let Some(cluster) = RedisCluster::start().await else { return };
    let port = cluster.servers[1].port;
    let (one, two) = (store(config(port).sharded()), store(config(port).sharded()));
    for number in 0..8 {
        check([one.clone(), two.clone()], &format!("key{number}")).await;
    }
}

#[tokio::test]
async fn a_store_that_is_down_answers_within_its_time_and_comes_back() {
    let Some(mut server) = start(&[]).await else { return };
    let store = store(config(server.port));
    store.put("key", 1, Bytes::from_static(b"a"), MINUTE).await.unwrap();
    server.kill();
    let failed = within(store.replace("key", Bytes::new(), MINUTE)).await.unwrap_err();
    assert!(failed.to_string().starts_with("the store of sessions is unavailable: "), "{failed}");
    within(store.put("key", 1, Bytes::new(), MINUTE)).await.unwrap_err();
    server.restart().await;
    within(async {
        while store.put("key", 1, Bytes::new(), MINUTE).await.is_err() {
            pause().await;
        }
    })
    .await;
}

/// The server has done what a call asks for, and the connection is lost before its answer arrives.
#[tokio::test]
async fn a_call_without_an_answer_is_repeated_if_that_changes_nothing() {
    let Some(server) = start(&[]).await else { return };
    let direct = store(config(server.port));
    for is_replacement in [false, true] {
        direct.put("key", 1, Bytes::from_static(b"before"), MINUTE).await.unwrap();
        let way = Way::losing_the_answer(server.addr(), "of the lost answer").await;
        let (store, record) = (store(config(way.port)), Bytes::from_static(b"of the lost answer"));
        if is_replacement {
            // A second one would return the record of the first.
            let failed = within(store.replace("key", record, MINUTE)).await.unwrap_err();
            assert!(failed.0.contains("the answer"), "{failed}");
        } else {
            within(store.put("key", 1, record, MINUTE)).await.unwrap();
        }
        let kept = direct.replace("key", Bytes::new(), MINUTE).await.unwrap();
        assert_eq!(kept.as_deref(), Some(&b"of the lost answer"[..]), "{is_replacement}");
        // The next one is served.
        let kept = within(store.replace("key", Bytes::new(), MINUTE)).await.unwrap();
        assert_eq!(kept.as_deref(), Some(&b""[..]), "{is_replacement}");
    }
}

/// A name moves to another server while a store connects. Each row has the number of the connection that
/// reaches the other one.
#[tokio::test]
async fn a_store_whose_connections_reach_two_servers_connects_again() {
    let (Some(server), Some(other)) = (start(&[]).await, start(&[]).await) else { return };
    let direct = store(config(server.port));
    for turned in 0..3 {
        let key = format!("key{turned}");
        let way = Way::turning(server.addr(), other.addr(), turned).await;
        let store = store(config(way.port));
        within(store.put(&key, 1, Bytes::from_static(b"a"), MINUTE)).await.unwrap();
        assert!(way.accepted() > 3, "{turned}");
        let kept = direct.replace(&key, Bytes::new(), MINUTE).await.unwrap();
        assert_eq!(kept.as_deref(), Some(&b"a"[..]), "{turned}");
    }
}

/// How a server refuses what it has done before, on a connection that it keeps.
#[derive(Clone, Copy, Debug)]
enum Stale {
    /// The slot goes to another master.
    Moved,
    /// An administrator has removed the scripts.
    Flushed,
}

/// A server refuses all requests of a connection → the next connection is served.
async fn check_stale(stale: Stale) {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    let store = store(config(cluster.servers[0].port).sharded());
    let put = async || store.put("key", 1, Bytes::from_static(b"a"), MINUTE).await;
    put().await.unwrap();
    let admins = &mut cluster.admins;
    match stale {
        Stale::Moved => {
            let slot = servers::command(&mut admins[0], "CLUSTER KEYSLOT ws:session:key").await;
            let slot: u16 = redis::from_redis_value(slot).unwrap();
            let owner = usize::from(slot / 5461).min(2);
            let target = (owner + 1) % 3;
            servers::command(&mut admins[owner], "DEL ws:session:key").await;
            let id = servers::command(&mut admins[target], "CLUSTER MYID").await;
            let id: String = redis::from_redis_value(id).unwrap();
            for index in [target, owner, (owner + 2) % 3] {
                let set = format!("CLUSTER SETSLOT {slot} NODE {id}");
                servers::command(&mut admins[index], &set).await;
            }
        }
        Stale::Flushed => {
            for admin in admins {
                servers::command(admin, "SCRIPT FLUSH").await;
            }
        }
    }
    within(async {
        while put().await.is_err() {
            pause().await;
        }
    })
    .await;
    let before = store.replace("key", Bytes::new(), MINUTE).await.unwrap();
    assert_eq!(before.as_deref(), Some(&b"a"[..]), "{stale:?}");
}

#[tokio::test]
async fn a_server_that_refuses_all_requests_of_a_connection_gets_another_one() {
    for stale in [Stale::Moved, Stale::Flushed] {
        check_stale(stale).await;
    }
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_documentation_has_a_store() {
    let docs = include_str!("../src/sessions.rs");
    let rights = docs.split_whitespace().map(|word| word.trim_matches(['`', ',', '.']));
    let rights = rights.filter(|word| word.starts_with('+') && word.len() > 3);
    let rules = "--user ws on >secret resetkeys resetchannels ~ws:* -@all";
    let user: Vec<_> = rules.split(' ').chain(rights).collect();
    let Some(server) = start(&user).await else { return };
    let url = format!("redis://ws:secret@127.0.0.1:{}", server.port);
    let (one, two) = (store(RedisConfig::new(&*url)), store(RedisConfig::new(&*url)));
    check([one, two], "key").await;
    let other = RedisSessions::new(RedisConfig::new(&*url)).unwrap().prefix("other").unwrap();
    other.start();
    assert!(other.put("key", 1, Bytes::new(), MINUTE).await.is_err(), "a key of others");
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Draft(String);

fn recovery(port: u16) -> Recovery {
    let store = RedisSessions::new(config(port)).unwrap();
    Recovery::new().keep::<Draft>("draft").store(store)
}

/// A node. A new socket joins two rooms with histories, and one without.
async fn node(port: u16, recovery: Recovery) -> Hub {
    let broker = RedisBroker::new(config(port)).unwrap();
    node_with(port, recovery, ClusterConfig::new(broker)).await
}

async fn node_with(port: u16, recovery: Recovery, cluster: ClusterConfig) -> Hub {
    let hub = Hub::builder()
        .envelope()
        .history("room*", History::new())
        .history_store(RedisHistory::new(config(port)).unwrap())
        .recovery(recovery)
        .build_clustered(cluster.heartbeat(Duration::from_millis(300)))
        .unwrap();
    hub.on_connect(async |socket: Socket| {
        if !socket.recovered() {
            for room in ["room1", "room2", "live"] {
                socket.join(room)?;
            }
        }
        Ok::<_, ws_events::NotConnected>(())
    });
    within(async {
        while hub.room("room0").position().await.is_err()
            || hub.to("room0").emit("n", &()).unwrap().stored != Stored::Queued
        {
            pause().await;
        }
    })
    .await;
    hub
}

/// Nodes that know each other.
async fn nodes(port: u16, count: usize) -> Vec<Hub> {
    let mut hubs = Vec::new();
    for _ in 0..count {
        hubs.push(node(port, recovery(port)).await);
    }
    know(&hubs).await;
    hubs
}

async fn know(hubs: &[Hub]) {
    within(async {
        while hubs.iter().any(|hub| hub.nodes().len() + 1 < hubs.len()) {
            pause().await;
        }
    })
    .await;
}

/// A client whose session is in the store.
async fn enter(server: &Server, hub: &Hub) -> (Client, Socket) {
    let (client, socket) = Client::enter(hub).await;
    stored(server, client.token(), |_| true).await;
    (client, socket)
}

/// As [`enter`]. The client has a message of each of its rooms, so the positions of both are known.
async fn enter_and_receive(server: &Server, hub: &Hub) -> (Client, Socket) {
    let (mut client, socket) = enter(server, hub).await;
    for room in ["room1", "room2"] {
        emit(hub, room, 0).await;
        assert_eq!(client.next().await, Some(json!(0)), "{room}");
    }
    (client, socket)
}

/// Waits until the record of a token is in the store.
async fn stored(server: &Server, token: &str, is_it: impl Fn(&str) -> bool) {
    let mut admin = admin(server.port).await;
    let mut get = redis::cmd("EVAL");
    get.arg("return redis.call('GET', 'ws:session:' .. redis.sha1hex(ARGV[1]))");
    get.arg(0).arg(token);
    within(async {
        loop {
            let record: Option<String> = get.query_async(&mut admin).await.unwrap();
            if record.as_ref().is_some_and(|record| is_it(record)) {
                return;
            }
            pause().await;
        }
    })
    .await;
}

async fn gone(hub: &Hub, socket: &Socket) {
    within(async {
        while hub.socket(socket.id()).is_some() {
            pause().await;
        }
    })
    .await;
}

/// Emits a number to a room, and waits until it is stored.
async fn emit(hub: &Hub, room: &str, number: usize) {
    assert_eq!(hub.to(room).emit("n", &number).unwrap().stored, Stored::Queued);
    within(async {
        let is_last = |hub: Hub| async move {
            let last = hub.room(room).latest(1).await.unwrap();
            last.first().is_some_and(|last| last.json::<usize>().ok() == Some(number))
        };
        while !is_last(hub.clone()).await {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_gets_its_session_with_all_that_it_missed_on_any_node_again_and_again() {
    let Some(server) = start(&[]).await else { return };
    let hubs = nodes(server.port, 3).await;
    let (mut client, socket) = enter(&server, &hubs[0]).await;
    let id = socket.id();
    socket.attributes().insert(Draft("dear".to_owned()));
    let mut number = 0;
    for turn in 0..12 {
        let (hub, next) = (&hubs[turn % 3], &hubs[(turn + 1) % 3]);
        let socket = hub.socket(&id).expect("a socket");
        assert!(socket.is_in("room1") && socket.is_in("room2") && socket.is_in("live"));
        assert_eq!(socket.attributes().get(), Some(Draft("dear".to_owned())));
        // What no history has is not missed if the client has it.
        hub.emit("n", &"all").unwrap();
        assert_eq!(client.next().await, Some(json!("all")));
        for sender in &hubs {
            emit(sender, "room1", number).await;
            number += 1;
        }
        assert_eq!(client.next().await, Some(json!(number - 3)));
        // Every other time, its node has not noticed the loss when it comes back.
        if turn % 2 == 0 {
            client.conn.close_now();
            gone(hub, &socket).await;
        }
        for sender in &hubs {
            emit(sender, "room1", number).await;
            number += 1;
        }
        let token = client.token.clone();
        let welcome = client.resume(next).await;
        assert_eq!(welcome["recovered"], true, "{turn}: {welcome}");
        assert_ne!(client.token, token);
        let missed = client.read_many(5).await;
        assert!(missed.into_iter().eq((number - 5..number).map(|number| json!(number))));
        gone(hub, &socket).await;
        stored(&server, client.token(), |_| true).await;
    }
}

/// What happens while a client is away → why its session is a new one on another node.
async fn check_lost(
    server: &Server,
    hubs: &[Hub],
    what: &str,
    while_away: impl AsyncFn(&[Hub], &Socket, &Client),
    reason: &str,
) {
    let (mut client, socket) = enter(server, &hubs[0]).await;
    emit(&hubs[0], "room1", 1).await;
    assert_eq!(client.next().await, Some(json!(1)), "{what}");
    while_away(hubs, &socket, &client).await;
    client.conn.close_now();
    gone(&hubs[0], &socket).await;
    let id = socket.id();
    let welcome = client.resume(&hubs[1]).await;
    assert_eq!(
        (&welcome["recovered"], &welcome["reason"]),
        (&json!(false), &json!(reason)),
        "{what}"
    );
    within(async {
        while !hubs[1].everyone().sockets().iter().any(|socket| socket.is_in("live")) {
            pause().await;
        }
    })
    .await;
    assert!(hubs.iter().all(|hub| hub.socket(&id).is_none()), "{what}");
    emit(&hubs[0], "room1", 2).await;
    assert_eq!(client.next().await, Some(json!(2)), "{what}: nothing of the old session");
}

#[tokio::test]
async fn a_session_that_has_missed_what_no_history_has_is_a_new_one_on_another_node() {
    let Some(server) = start(&[]).await else { return };
    let hubs = nodes(server.port, 3).await;
    for sender in 0..3 {
        let away = async |hubs: &[Hub], socket: &Socket, client: &Client| {
            client.conn.close_now();
            gone(&hubs[0], socket).await;
            hubs[sender].to("live").emit("n", &"plain").unwrap();
        };
        check_lost(&server, &hubs, "to its room", away, "missed").await;
        let away = async |hubs: &[Hub], socket: &Socket, client: &Client| {
            client.conn.close_now();
            gone(&hubs[0], socket).await;
            hubs[sender].emit("n", &"plain").unwrap();
        };
        check_lost(&server, &hubs, "to all", away, "missed").await;
        let away = async |hubs: &[Hub], socket: &Socket, client: &Client| {
            client.conn.close_now();
            gone(&hubs[0], socket).await;
            let _ = hubs[sender].emit_to(socket.id(), "n", &"plain");
        };
        check_lost(&server, &hubs, "to its id", away, "missed").await;
    }
    let away = async |_: &[Hub], socket: &Socket, _: &Client| {
        socket.emit("n", &"into the dead connection").unwrap();
    };
    check_lost(&server, &hubs, "a message of its own", away, "missed").await;
    let away = async |_: &[Hub], socket: &Socket, client: &Client| {
        socket.close(StatusCode::POLICY_VIOLATION, "no").unwrap();
        client.conn.closed().await;
    };
    check_lost(&server, &hubs, "it was kicked", away, "unknown_session").await;
}

#[tokio::test]
async fn one_of_two_connections_that_claim_a_session_on_two_nodes_gets_it() {
    let Some(server) = start(&[]).await else { return };
    let hubs = nodes(server.port, 3).await;
    for turn in 0..6 {
        let (mut client, socket) = enter(&server, &hubs[0]).await;
        emit(&hubs[2], "room1", 1).await;
        assert_eq!(client.next().await, Some(json!(1)));
        if turn % 2 == 0 {
            client.conn.close_now();
            gone(&hubs[0], &socket).await;
        }
        emit(&hubs[2], "room1", 2).await;
        // Two other nodes, or its own and another one.
        let pair = [&hubs[1], &hubs[if turn < 3 { 2 } else { 0 }]];
        let claims = pair.map(|hub| Client::connect(hub, client.token.clone(), client.at.clone()));
        let claims = join_all(claims).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| claim.welcome["recovered"] == true);
        assert_eq!((won.len(), lost.len()), (1, 1), "{turn}");
        assert_eq!(lost[0].welcome["reason"], "already_claimed", "{turn}");
        for mut client in won {
            assert_eq!(client.next().await, Some(json!(2)));
        }
        let again = Client::connect(&hubs[2], client.token.clone(), client.at.clone()).await;
        assert_eq!(again.welcome["reason"], "already_claimed", "{turn}");
    }
}

#[tokio::test]
async fn a_session_is_given_to_its_own_user_on_any_node() {
    let Some(server) = start(&[]).await else { return };
    let mut hubs = Vec::new();
    for user in ["ann", "bob", "ann"] {
        let recovery = recovery(server.port).user(move |_| Some(user.to_owned()));
        hubs.push(node(server.port, recovery).await);
    }
    know(&hubs).await;
    let (client, socket) = enter_and_receive(&server, &hubs[0]).await;
    let claim = |hub| Client::connect(hub, client.token.clone(), client.at.clone());
    assert_eq!(claim(&hubs[1]).await.welcome["reason"], "unknown_session");
    assert!(socket.is_alive());
    assert_eq!(claim(&hubs[2]).await.welcome["recovered"], true);
}

#[tokio::test]
async fn a_node_that_drains_leaves_its_sessions_to_the_others() {
    let Some(server) = start(&[]).await else { return };
    let mut hubs = nodes(server.port, 3).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (client, _) = enter(&server, &hubs[0]).await;
        clients.push(client);
    }
    emit(&hubs[1], "room1", 1).await;
    for client in &mut clients {
        assert_eq!(client.next().await, Some(json!(1)));
    }
    emit(&hubs[1], "room1", 2).await;
    let first = hubs.remove(0);
    let reading = clients.iter_mut().map(|client| async {
        // It is not read, so it is missed.
        while client.conn.read().await.is_ok() {}
    });
    let (report, _) = tokio::join!(first.drain(Duration::from_secs(10)), join_all(reading));
    assert_eq!(report.notified, 8);
    drop(first);
    within(async {
        while hubs.iter().any(|hub| hub.nodes().len() > 1) {
            pause().await;
        }
    })
    .await;
    emit(&hubs[0], "room1", 3).await;
    // The first half misses nothing else.
    let late = clients.split_off(4);
    for (at, client) in clients.iter_mut().enumerate() {
        let welcome = client.resume(&hubs[at % 2]).await;
        assert_eq!(welcome["recovered"], true, "{at}: {welcome}");
        assert_eq!(client.read_many(2).await, [json!(2), json!(3)]);
    }
    hubs[1].to("live").emit("n", &"plain").unwrap();
    for (at, mut client) in late.into_iter().enumerate() {
        let welcome = client.resume(&hubs[at % 2]).await;
        assert_eq!(welcome["reason"], "missed", "{at}");
    }
}

#[tokio::test]
async fn while_the_store_is_down_sessions_are_recovered_on_their_own_nodes() {
    let (Some(server), Some(mut other)) = (start(&[]).await, start(&[]).await) else { return };
    let recovery = || {
        let store = RedisSessions::new(config(other.port)).unwrap();
        Recovery::new().store(store)
    };
    let hubs = [node(server.port, recovery()).await, node(server.port, recovery()).await];
    know(&hubs).await;
    let (mut client, _) = enter_and_receive(&other, &hubs[0]).await;
    other.kill();
    client.conn.close_now();
    let welcome = client.resume(&hubs[0]).await;
    assert_eq!(welcome["recovered"], true, "{welcome}");
    client.conn.close_now();
    let welcome = client.resume(&hubs[1]).await;
    assert_eq!(welcome["reason"], "store_unavailable");
    emit(&hubs[0], "room1", 1).await;
    assert_eq!(client.next().await, Some(json!(1)));
}

/// A node that can die: its runtime ends with all of its tasks.
struct Mortal {
    hub: Hub,
    runtime: Option<Runtime>,
}

impl Mortal {
    async fn start(port: u16, recovery: Recovery) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let hub = runtime.spawn(async move { node(port, recovery).await }).await.unwrap();
        Self { hub, runtime: Some(runtime) }
    }

    /// Runs something on the node.
    async fn run<T: Send + 'static>(&self, run: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().spawn(run).await.unwrap()
    }

    fn die(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.die();
    }
}

/// Waits until a node knows of so many others.
async fn others(hub: &Hub, count: usize) {
    within(async {
        while hub.nodes().len() != count {
            pause().await;
        }
    })
    .await;
}

/// What of its rooms a client says that it has → why it is not recovered after the death of its node,
/// or `None`.
async fn check_death(
    server: &Server,
    stored_only: bool,
    rooms: &'static [&'static str],
    says_rooms: bool,
    expected: Option<&str>,
) {
    let what = format!("{rooms:?} {says_rooms} {expected:?}");
    let port = server.port;
    let recovery = |port| {
        let recovery = recovery(port);
        if stored_only { recovery.stored_only() } else { recovery }
    };
    let mut first = Mortal::start(port, recovery(port)).await;
    let second = node(port, recovery(port)).await;
    others(&second, 1).await;
    let hub = first.hub.clone();
    let (mut client, socket) = first.run(async move { Client::enter(&hub).await }).await;
    let id = socket.id();
    socket.attributes().insert(Draft("dear".to_owned()));
    for room in ["room1", "room2"].into_iter().filter(|room| !rooms.contains(room)) {
        socket.leave(room);
    }
    for (number, room) in rooms.iter().enumerate() {
        emit(&second, room, number).await;
        assert_eq!(client.next().await, Some(json!(number)), "{what}");
    }
    // It arrives, and is not read.
    emit(&second, rooms[0], 8).await;
    // It is in the record with the next change of its rooms.
    socket.join("other").unwrap();
    socket.leave("other");
    stored(server, client.token(), |record| {
        let has_room = |room| record.contains(room) == rooms.contains(&room);
        let is_last = record.contains("dear") && !record.contains("other");
        !stored_only
            || is_last
                && !record.contains(r#""from":null"#)
                && has_room("room1")
                && has_room("room2")
    })
    .await;
    first.die();
    others(&second, 0).await;
    for room in rooms {
        emit(&second, room, 9).await;
    }
    let welcome = if says_rooms {
        client.resume_rooms(&second).await.clone()
    } else {
        client.resume(&second).await.clone()
    };
    let got = (welcome["recovered"].as_bool(), welcome["reason"].as_str());
    assert_eq!(got, (Some(expected.is_none()), expected), "{what}");
    if expected.is_some() {
        return;
    }
    let mut missed = client.read_many(rooms.len() + 1).await;
    // Each room is in its order.
    missed[1..].sort_by_key(Value::to_string);
    let mut all = vec![json!(9); rooms.len()];
    all.insert(0, json!(8));
    assert_eq!(missed, all, "{what}");
    let socket = second.socket(&id).expect("its socket");
    assert_eq!(socket.attributes().get(), Some(Draft("dear".to_owned())), "{what}");
    assert!(socket.is_in("live") && rooms.iter().all(|room| socket.is_in(room)), "{what}");
    assert_eq!(socket.rooms().len(), rooms.len() + 1, "{what}");
    emit(&second, rooms[0], 10).await;
    assert_eq!(client.next().await, Some(json!(10)), "{what}");
}

#[tokio::test]
async fn a_session_outlives_its_node_if_only_histories_count_and_its_client_knows_its_rooms() {
    let Some(server) = start(&[]).await else { return };
    let (one, two) = (&["room1"][..], &["room1", "room2"][..]);
    for (stored_only, rooms, says_rooms, expected) in [
        (true, two, true, None),
        (true, one, true, None),
        (true, one, false, None),
        (true, two, false, Some("unknown_offset")),
        // What it has missed outside of histories is not known.
        (false, one, true, Some("node_lost")),
    ] {
        check_death(&server, stored_only, rooms, says_rooms, expected).await;
    }
}

#[tokio::test]
async fn a_session_outlives_the_restart_of_the_only_node_if_only_histories_count() {
    let Some(server) = start(&[]).await else { return };
    for stored_only in [true, false] {
        let node = || async {
            let recovery = recovery(server.port);
            let recovery = if stored_only { recovery.stored_only() } else { recovery };
            node(server.port, recovery).await
        };
        let hub = node().await;
        let (mut client, socket) = enter(&server, &hub).await;
        let id = socket.id();
        for room in ["room1", "room2"] {
            emit(&hub, room, 1).await;
            assert_eq!(client.next().await, Some(json!(1)));
        }
        hub.emit("n", &"plain").unwrap();
        emit(&hub, "room2", 2).await;
        let reading = async { while client.conn.read().await.is_ok() {} };
        tokio::join!(hub.drain(Duration::from_secs(10)), reading);
        drop((hub, socket));
        let hub = node().await;
        emit(&hub, "room1", 3).await;
        hub.emit("n", &"plain").unwrap();
        // One offset suffices: the log of the session is in its last record.
        let welcome = client.resume(&hub).await.clone();
        assert_eq!(welcome["recovered"], stored_only, "{welcome}");
        if stored_only {
            assert_eq!(client.read_many(2).await, [json!(2), json!(3)]);
            assert!(hub.socket(id).is_some());
        }
    }
}

/// What clients find: the nodes that are up, and what runs them.
type Nodes = Arc<Mutex<Vec<(Hub, Handle)>>>;

/// A client that loses its connection at random until `calm`, and comes back to a random node. Returns how
/// often it was recovered, and why it was not, each time with the number of nodes.
async fn run_client(
    nodes: Nodes,
    number: u64,
    calm: watch::Receiver<bool>,
) -> (usize, Vec<(usize, Value)>) {
    let mut random = SmallRng::seed_from_u64(number);
    let (mut token, mut rooms) = (None, Vec::new());
    let mut last: BTreeMap<String, Position> = BTreeMap::new();
    let (mut recovered, mut lost, mut ended) = (0, Vec::new(), Vec::new());
    loop {
        let (hub, runtime) = {
            let nodes = nodes.lock().unwrap();
            nodes[random.random_range(0..nodes.len())].clone()
        };
        let (own, at) = (token.clone(), rooms.clone());
        let connecting = async move { Client::try_connect(&hub, own, at).await };
        // It fails if the node dies.
        let Ok(Some(mut client)) = runtime.spawn(connecting).await else { continue };
        if client.welcome["recovered"] == true {
            recovered += 1;
        } else {
            let up = nodes.lock().unwrap().len();
            lost.extend(token.is_some().then(|| (up, client.welcome["reason"].clone())));
            last.clear();
            ended.clear();
        }
        while let Some(data) = client.next().await {
            let at: Position = client.at.as_ref().unwrap().parse().unwrap();
            let room = data[0].as_str().unwrap().to_owned();
            if let Some(before) = last.insert(room.clone(), at) {
                let next = Position { offset: before.offset + 1, ..before };
                assert_eq!(at, next, "client {number} in {room}");
            }
            if data[1] == LAST && !ended.contains(&room) {
                ended.push(room);
            }
            if ended.len() == 2 {
                return (recovered, lost);
            }
            if !*calm.borrow() && random.random_ratio(1, 40) {
                client.conn.close_now();
            }
        }
        (token, rooms) = (client.token, client.rooms);
    }
}

/// Three nodes, of which one drains and one dies → how the sessions fare.
async fn check_random(stored_only: bool) {
    let Some(server) = start(&[]).await else { return };
    let port = server.port;
    let recovery = move || {
        let recovery = recovery(port);
        if stored_only { recovery.stored_only() } else { recovery }
    };
    let mut mortal = Mortal::start(port, recovery()).await;
    let hubs = [mortal.hub.clone(), node(port, recovery()).await, node(port, recovery()).await];
    know(&hubs).await;
    let own = Handle::current();
    let runtimes = [mortal.runtime.as_ref().unwrap().handle().clone(), own.clone(), own];
    let nodes: Vec<_> = hubs.iter().cloned().zip(runtimes).collect();
    let nodes: Nodes = Arc::new(Mutex::new(nodes));
    let (calm, stop) = (watch::Sender::new(false), watch::Sender::new(false));
    let clients: Vec<_> = (0..24)
        .map(|number| tokio::spawn(run_client(Arc::clone(&nodes), number, calm.subscribe())))
        .collect();
    let sending = send_numbers(hubs[2].clone(), calm.subscribe(), stop.subscribe());
    let sender = tokio::spawn(sending);
    let sent = async |count| {
        let last = async || hubs[2].room("room1").position().await.unwrap().offset;
        let until = last().await + count;
        within(async {
            while last().await < until {
                pause().await;
            }
        })
        .await;
    };
    sent(60).await;
    // No client comes to it any more.
    nodes.lock().unwrap().remove(1);
    hubs[1].drain(Duration::from_secs(10)).await;
    sent(60).await;
    nodes.lock().unwrap().remove(0);
    mortal.die();
    sent(60).await;
    calm.send_replace(true);
    let results = within(join_all(clients)).await;
    stop.send_replace(true);
    sender.await.unwrap();
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    let recovered: usize = results.iter().map(|(recovered, _)| recovered).sum();
    assert!(recovered >= 24, "{results:?}");
    if stored_only {
        for (_, lost) in &results {
            // A connection that ends with its node, before the answer arrives, takes its session along.
            assert!(lost.len() <= 2 && lost.iter().all(|(up, _)| *up < 3), "{results:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_on_several_nodes_have_every_message_once_and_in_order_or_learn_that_their_session_is_new()
 {
    for stored_only in [false, true] {
        check_random(stored_only).await;
    }
}

/// A client of Socket.IO in a namespace, the root one if its name is empty, which brings back its `pid`.
struct SocketIoClient {
    conn: Conn,
    pid: Option<String>,
    offset: Option<String>,
    /// The last offset of each room, by its epoch.
    rooms: BTreeMap<u64, u64>,
}

impl SocketIoClient {
    fn new(pid: Option<String>) -> Self {
        Self { conn: pair().0, pid, offset: None, rooms: BTreeMap::new() }
    }

    /// Connects, with what it has of its session. Returns whether that was recovered, as its library
    /// tells it.
    async fn connect(&mut self, hub: &Hub, namespace: &str) -> bool {
        let (conn, server) = pair();
        let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
        let hub = hub.clone();
        tokio::spawn(async move {
            let driving = session.clone();
            tokio::join!(driving.drive(), hub.serve_engine(session));
        });
        self.conn = conn;
        self.read().await;
        let auth = json!({"pid": self.pid, "offset": self.offset});
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace},") };
        self.conn.write(format!("40{namespace}{auth}")).await.unwrap();
        let answer = self.read().await;
        let answer = answer.split_once('{').unwrap().1;
        let answer: Value = serde_json::from_str(&format!("{{{answer}")).unwrap();
        let pid = self.pid.replace(answer["pid"].as_str().unwrap().to_owned());
        pid == self.pid
    }

    async fn read(&self) -> String {
        within(self.conn.read()).await.unwrap().as_text().unwrap().to_owned()
    }

    /// The number of the next event.
    async fn next(&mut self) -> Value {
        let event = self.read().await;
        let (_, event) = event.split_once('[').unwrap();
        let event: Value = serde_json::from_str(&format!("[{event}")).unwrap();
        self.offset = event[2].as_str().map(str::to_owned);
        let offsets = self.offset.iter().flat_map(|it| it.split(','));
        let offsets: Vec<Position> = offsets.map(|it| it.parse().unwrap()).collect();
        let last = offsets.last().unwrap();
        self.rooms.insert(last.epoch, last.offset);
        // Those of other rooms are what it has of them.
        if offsets.len() > 1 {
            for Position { epoch, offset } in &offsets {
                let known = self.rooms.entry(*epoch).or_insert(*offset);
                assert_eq!(offset, known, "{offsets:?}");
            }
            assert_eq!(offsets.len(), self.rooms.len());
        }
        event[1].clone()
    }
}

/// The most rooms whose offsets are in an event → whether a client in two rooms is recovered after the
/// death of its node.
async fn check_death_of_socket_io(server: &Server, most: usize, expected: bool) {
    let port = server.port;
    let recovery = || recovery(port).stored_only().room_offsets(most);
    let mut first = Mortal::start(port, recovery()).await;
    let second = node(port, recovery()).await;
    others(&second, 1).await;
    let (hub, mut client) = (first.hub.clone(), SocketIoClient::new(None));
    let entering = async move { (client.connect(&hub, "").await, client) };
    let (_, mut client) = first.run(entering).await;
    let is_known = |record: &str| {
        let has_rooms = ["room1", "room2", "live"].iter().all(|room| record.contains(room));
        has_rooms && !record.contains(r#""from":null"#)
    };
    stored(server, client.pid.as_ref().unwrap(), is_known).await;
    for (room, number) in [("room1", 0), ("room2", 1), ("room1", 2)] {
        emit(&second, room, number).await;
        assert_eq!(client.next().await, number);
    }
    // What no history has is not counted, and has offsets, too.
    first.hub.emit("n", &3).unwrap();
    // They arrive, or not, and are not read.
    emit(&second, "room2", 4).await;
    emit(&second, "room1", 5).await;
    // It has nothing of a room that it has joined since its last event.
    for socket in first.hub.everyone().sockets() {
        socket.join("room3").unwrap();
    }
    stored(server, client.pid.as_ref().unwrap(), |it| is_known(it) && it.contains("room3")).await;
    first.die();
    others(&second, 0).await;
    emit(&second, "room2", 6).await;
    emit(&second, "room1", 7).await;
    emit(&second, "room3", 8).await;
    assert_eq!(client.connect(&second, "").await, expected, "{most}");
    if !expected {
        return;
    }
    let mut missed = Vec::new();
    for _ in 0..5 {
        missed.push(client.next().await.as_u64().unwrap());
    }
    // Each room is in its order.
    let (even, odd): (Vec<_>, Vec<_>) = missed.into_iter().partition(|number| number % 2 == 0);
    assert_eq!((even, odd), (vec![4, 6, 8], vec![5, 7]), "{most}");
    for (room, number) in [("room1", 9), ("room2", 10), ("room3", 11)] {
        emit(&second, room, number).await;
        assert_eq!(client.next().await, number);
    }
}

#[tokio::test]
async fn a_client_of_socket_io_outlives_its_node_if_its_events_have_the_offsets_of_all_rooms() {
    let Some(server) = start(&[]).await else { return };
    for (most, expected) in [(2, true), (9, true), (1, false)] {
        check_death_of_socket_io(&server, most, expected).await;
    }
}

/// The owners of the sessions in the store that need nothing of their nodes.
async fn owners(server: &Server) -> Vec<String> {
    let mut admin = admin(server.port).await;
    let script = "local all = {} for _, key in ipairs(redis.call('KEYS', 'ws:session:*')) do \
                  all[#all + 1] = redis.call('GET', key) end return all";
    let records: Vec<String> =
        within(redis::cmd("EVAL").arg(script).arg(0).query_async(&mut admin)).await.unwrap();
    let is_known =
        |record: &&String| record.contains("room2") && !record.contains(r#""from":null"#);
    let owner = |record: &String| record.split_once(r#""owner":"#).unwrap().1.to_owned();
    let number = |text: String| text.chars().take_while(char::is_ascii_digit).collect();
    records.iter().filter(is_known).map(owner).map(number).collect()
}

/// The official client, in two rooms. One node after the other serves it on the same port, and dies.
async fn check_official(server: &Server, encoding: &str) {
    const LIVES: usize = 4;
    let (port, addr) = (server.port, ("127.0.0.1", free_port()));
    let recovery = || recovery(port).stored_only().room_offsets(2);
    let sender = node(port, recovery()).await;
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../socketio/tests/peers");
    let url = format!("http://{}:{}", addr.0, addr.1);
    let count = (4 * LIVES - 2).to_string();
    let mut command = Command::new("node");
    command.args(["recover.mjs", &url, r#"["websocket"]"#, &count, encoding, "0"]);
    command.current_dir(&peers).stdout(Stdio::piped()).kill_on_drop(true);
    let client = command.spawn().unwrap();
    let (mut number, mut before, mut last) = (0, Vec::new(), None);
    let mut send = async || {
        for room in ["room1", "room2"] {
            emit(&sender, room, number).await;
            number += 1;
        }
    };
    for life in 0..LIVES {
        let mut mortal = Mortal::start(port, recovery()).await;
        let hub = mortal.hub.clone();
        mortal
            .run(async move {
                let listener = loop {
                    // The one before may have it for a moment longer.
                    match TcpListener::bind(addr).await {
                        Ok(listener) => break listener,
                        Err(_) => pause().await,
                    }
                };
                tokio::spawn(ws_server_hyper::serve(listener, SocketIo::new(&hub)));
            })
            .await;
        // It is served, and its session would outlive the node.
        before = within(async {
            loop {
                let owners = owners(server).await;
                if mortal.hub.to("room2").count() == 1 && owners.len() == 1 && owners != before {
                    return owners;
                }
                pause().await;
            }
        })
        .await;
        send().await;
        if life + 1 < LIVES {
            mortal.die();
            send().await;
        }
        last = Some(mortal);
    }
    let output = within(client.wait_with_output()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers: Vec<_> =
        report["numbers"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    drop(last);
    for room in 0..2 {
        let own = numbers.iter().copied().filter(|number| number % 2 == room);
        assert!(own.eq((room..number as u64).step_by(2)), "{encoding}: {report}");
    }
    assert_eq!(report["ids"], 1, "{encoding}: {report}");
    assert_eq!(report["recovered"], json!([false, true, true, true]), "{encoding}: {report}");
}

#[tokio::test]
async fn the_official_client_in_two_rooms_has_every_message_once_and_in_order_whatever_node_dies() {
    let packages =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../socketio/tests/peers/node_modules");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status().await;
    if node.is_err() || !packages.exists() {
        return skip("node misses the packages of recover.mjs: see CONTRIBUTING.md");
    }
    for encoding in ["text", "msgpack"] {
        let Some(server) = start(&[]).await else { return };
        check_official(&server, encoding).await;
    }
}

/// There is no node that would give it to one of them: the store decides alone.
#[tokio::test]
async fn one_of_two_connections_that_claim_a_session_of_a_dead_node_gets_it() {
    let Some(server) = start(&[]).await else { return };
    let port = server.port;
    let recovery = || recovery(port).stored_only();
    let mut first = Mortal::start(port, recovery()).await;
    let hubs = [node(port, recovery()).await, node(port, recovery()).await];
    know(&[first.hub.clone(), hubs[0].clone(), hubs[1].clone()]).await;
    let (mut sessions, mut clients, mut conns) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..8 {
        let known = first.hub.everyone().sockets();
        let (hub, is_socketio) = (first.hub.clone(), turn % 2 == 0);
        let pid = if is_socketio {
            let mut client = SocketIoClient::new(None);
            let entering = async move { (client.connect(&hub, "").await, client) };
            let (_, client) = first.run(entering).await;
            conns.push(client.conn);
            client.pid.unwrap()
        } else {
            let (client, _) = first.run(async move { Client::enter(&hub).await }).await;
            clients.push(client);
            clients.last().unwrap().token().to_owned()
        };
        stored(&server, &pid, |record| {
            ["room1", "room2", "live"].iter().all(|room| record.contains(room))
                && !record.contains(r#""from":null"#)
        })
        .await;
        let sockets = first.hub.everyone().sockets();
        let socket = sockets.into_iter().find(|socket| !known.contains(socket)).unwrap();
        sessions.push((socket.id(), pid, is_socketio));
    }
    first.die();
    for hub in &hubs {
        others(hub, 1).await;
    }
    for (id, pid, is_socketio) in sessions {
        // What each connection learns: whether it is recovered, and why not.
        let claims = hubs.iter().map(async |hub| {
            if is_socketio {
                let mut client = SocketIoClient::new(Some(pid.clone()));
                (client.connect(hub, "").await, Value::Null, client.conn)
            } else {
                let client = Client::connect(hub, Some(pid.clone()), Value::Null).await;
                let welcome = &client.welcome;
                (welcome["recovered"] == true, welcome["reason"].clone(), client.conn)
            }
        });
        let claims = join_all(claims).await;
        let there = hubs.iter().filter(|hub| hub.socket(&id).is_some()).count();
        assert_eq!(there, 1, "Socket.IO: {is_socketio}");
        let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.0);
        assert_eq!((won.len(), lost.len()), (1, 1), "Socket.IO: {is_socketio}");
        let reason = if is_socketio { Value::Null } else { json!("already_claimed") };
        assert_eq!(lost[0].1, reason);
    }
}

/// The token stays the same, and each node forgets what it has given away.
#[tokio::test]
async fn a_session_with_one_token_goes_to_another_node_and_back() {
    let Some(server) = start(&[]).await else { return };
    let hubs = nodes(server.port, 2).await;
    let chats = [0, 1].map(|at: usize| hubs[at].of("/chat"));
    for chat in &chats {
        chat.on_connect(async |socket: Socket| {
            if !socket.recovered() {
                socket.join("room1")?;
                socket.join("room2")?;
            }
            Ok::<_, ws_events::NotConnected>(())
        });
    }
    let mut client = SocketIoClient::new(None);
    assert!(!client.connect(&hubs[0], "/chat").await);
    within(async {
        while chats[0].to("room2").count() == 0 {
            pause().await;
        }
    })
    .await;
    let socket = chats[0].everyone().sockets().remove(0);
    let mut number = 0;
    for turn in 0..6 {
        let (chat, next) = (&chats[turn % 2], &hubs[(turn + 1) % 2]);
        stored(&server, client.pid.as_ref().unwrap(), |record| record.contains("held")).await;
        for room in ["room1", "room2"] {
            emit(chat, room, number).await;
            assert_eq!(client.next().await, number);
            number += 1;
        }
        emit(chat, "room1", number).await;
        if turn % 3 == 0 {
            client.conn.close_now();
        }
        assert!(client.connect(next, "/chat").await, "{turn}");
        assert_eq!(client.next().await, number, "{turn}");
        number += 1;
        assert!(chats[(turn + 1) % 2].socket(socket.id()).is_some());
    }
}

/// Each room has a subject of its own, to which the new node has yet to subscribe.
#[tokio::test]
async fn a_message_that_is_sent_while_a_session_moves_is_delivered_or_known_to_be_missed() {
    let Some(server) = start(&[]).await else { return };
    let mut hubs = Vec::new();
    for _ in 0..3 {
        let broker = Arc::new(RedisBroker::new(config(server.port)).unwrap());
        let cluster = ClusterConfig::new(Pointer::late(broker)).routing(Routing::PerRoom);
        hubs.push(node_with(server.port, recovery(server.port), cluster).await);
    }
    know(&hubs).await;
    let (mut client, socket) = enter(&server, &hubs[0]).await;
    let (mut id, mut random) = (socket.id(), SmallRng::seed_from_u64(1));
    let mut outcomes = [0, 0];
    for turn in 0..80 {
        let (hub, next) = (&hubs[turn % 2], &hubs[(turn + 1) % 2]);
        let (socket, room) = (hub.socket(&id).unwrap(), format!("plain{turn}"));
        socket.join(&room).unwrap();
        // The node is subscribed once this has arrived.
        let hello = async { while client.next().await != Some(json!("hello")) {} };
        let greet = async {
            loop {
                hubs[2].to(&room).emit("n", &"hello").unwrap();
                pause().await;
            }
        };
        tokio::select! {
            () = hello => {}
            () = greet => {}
        }
        hubs[2].to(&room).emit("n", &"end").unwrap();
        while client.next().await != Some(json!("end")) {}
        stored(&server, client.token(), |record| record.contains("held")).await;
        let wait = Duration::from_micros(random.random_range(0..90_000));
        let sender = &hubs[random.random_range(0..3)];
        let sending = async {
            tokio::time::sleep(wait).await; // tidy: sleep is the subject
            sender.to(&room).emit("n", &turn).unwrap();
        };
        let resuming = async { client.resume(next).await["recovered"] == true };
        let (recovered, ()) = tokio::join!(resuming, sending);
        outcomes[usize::from(recovered)] += 1;
        if recovered {
            while client.next().await != Some(json!(turn)) {}
        } else {
            let known = within(async {
                loop {
                    let others = next.everyone().sockets();
                    if let Some(socket) = others.into_iter().find(|it| it.is_in("live")) {
                        return socket.id();
                    }
                    pause().await;
                }
            });
            id = known.await;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
