//! Do hubs with their histories in Redis deliver every message once, in order, or say what is missing?
//!
//! Without `redis-server` the tests are skipped, and fail if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

#[path = "support/clients.rs"]
mod clients;
#[path = "support/servers.rs"]
mod servers;
#[path = "../../broker/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use clients::{Client, LAST, send_numbers};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use servers::{RedisCluster, admin, start};
use support::proxy::Proxy;
use support::{Server, pause, within};
use tokio::sync::watch;
use ws_events::cluster::{ClusterConfig, DeliveryOrder, HubEvent};
use ws_events::{
    ClusterDelivery, Delivery, History, HistoryError, Hub, HubBuilder, Position, Recovery, Socket,
    Stored,
};
use ws_events_nats::{NatsBroker, NatsConfig};
use ws_events_redis::{DriverConfig, RedisBroker, RedisConfig, RedisHistory};

fn config(port: u16) -> RedisConfig {
    let driver = DriverConfig::new().max_backoff(Duration::from_millis(20));
    RedisConfig::new(format!("redis://127.0.0.1:{port}")).driver(driver)
}

fn builder(port: u16) -> HubBuilder {
    Hub::builder()
        .envelope()
        .history("room*", History::new())
        .history_store(RedisHistory::new(config(port)).unwrap())
        .recovery(Recovery::new())
}

/// A new socket joins two rooms with histories, and one without.
fn prepare(hub: Hub) -> Hub {
    hub.on_connect(async |socket: Socket| {
        if !socket.recovered() {
            for room in ["room1", "room2", "live"] {
                socket.join(room)?;
            }
        }
        Ok::<_, ws_events::NotConnected>(())
    });
    hub
}

fn clustered(builder: HubBuilder, port: u16, order: DeliveryOrder) -> Hub {
    let broker = RedisBroker::new(config(port)).unwrap();
    prepare(builder.build_clustered(ClusterConfig::new(broker).order(order)).unwrap())
}

/// Waits until a store takes messages.
async fn up(hub: &Hub) {
    within(async {
        while hub.room("room0").position().await.is_err()
            || hub.to("room0").emit("n", &()).unwrap().stored != Stored::Queued
        {
            pause().await;
        }
    })
    .await;
}

/// Waits until a store takes no messages.
async fn refused(hub: &Hub) {
    within(async {
        while hub.to("room0").emit("n", &0).unwrap().stored != Stored::Refused {
            pause().await;
        }
    })
    .await;
}

/// Hubs whose stores take messages.
async fn hubs(port: u16, count: usize) -> Vec<Hub> {
    let mut hubs = Vec::new();
    for _ in 0..count {
        let hub = prepare(builder(port).build());
        up(&hub).await;
        hubs.push(hub);
    }
    hubs
}

async fn empty(hub: &Hub) {
    within(async {
        while !hub.is_empty() {
            pause().await;
        }
    })
    .await;
}

/// Emits a number, once the store takes it.
async fn emit(hub: &Hub, room: &str, number: usize) -> Delivery {
    within(async {
        loop {
            let sent = hub.to(room).emit("n", &number).unwrap();
            if sent.stored == Stored::Queued {
                return sent;
            }
            pause().await;
        }
    })
    .await
}

/// The numbers in the history of a room.
async fn numbers(hub: &Hub, room: &str) -> Vec<usize> {
    let messages = hub.room(room).latest(usize::MAX).await.unwrap();
    messages.iter().map(|message| message.json().unwrap()).collect()
}

/// Waits until a history has so many messages.
async fn until_stored(hub: &Hub, room: &str, offset: u64) -> Position {
    within(async {
        loop {
            match hub.room(room).position().await {
                Ok(position) if position.offset >= offset => return position,
                _ => pause().await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn members_on_all_nodes_get_the_messages_of_all_nodes_in_the_order_of_the_store() {
    let Some(server) = start(&[]).await else { return };
    let alone = hubs(server.port, 3).await;
    let clusters = [DeliveryOrder::LocalFirst, DeliveryOrder::BrokerOrdered].map(|order| {
        [(); 3].map(|()| clustered(builder(server.port), server.port, order)).to_vec()
    });
    for hubs in [alone].into_iter().chain(clusters) {
        check_steady(hubs).await;
    }
}

/// Redis has the histories alone: all other messages go by NATS, which has no order for those of
/// several nodes.
#[tokio::test]
async fn a_history_in_redis_has_its_order_if_nats_joins_the_nodes() {
    let Some(server) = start(&[]).await else { return };
    let nats = Server::start("nats-server", |port, _| {
        ["-a", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec()
    });
    let Some(nats) = nats.await else { return };
    let node = || {
        let driver = DriverConfig::new().max_backoff(Duration::from_millis(20));
        let config = NatsConfig::new(format!("nats://127.0.0.1:{}", nats.port)).driver(driver);
        let config = ClusterConfig::new(NatsBroker::new(config).unwrap());
        let config = config.heartbeat(Duration::from_millis(300));
        prepare(builder(server.port).build_clustered(config).unwrap())
    };
    let hubs = vec![node(), node(), node()];
    check_steady(hubs.clone()).await;
    within(async {
        while hubs.iter().any(|hub| hub.nodes().len() < 2) {
            pause().await;
        }
    })
    .await;
    let (mut client, _socket) = Client::enter(&hubs[0]).await;
    for room in ["room1", "room2"] {
        emit(&hubs[1], room, 1).await;
        assert_eq!(client.next().await, Some(json!(1)));
    }
    client.conn.close_now();
    within(async {
        while hubs[0].to("live").count() > 0 {
            pause().await;
        }
    })
    .await;
    // What a history has is not missed, whichever node has sent it. All else is, by NATS.
    let missed = emit(&hubs[1], "room1", 2).await;
    assert_eq!((missed.stored, missed.cluster), (Stored::Queued, ClusterDelivery::Local));
    assert_eq!(client.resume(&hubs[0]).await["recovered"], true);
    assert_eq!(client.next().await, Some(json!(2)));
    assert_eq!(hubs[1].to("live").emit("n", &3).unwrap().cluster, ClusterDelivery::Published);
    assert_eq!(client.next().await, Some(json!(3)));
}

/// The members of three hubs get what the hubs send at once in the order of the history.
async fn check_steady(hubs: Vec<Hub>) {
    const EACH: usize = 300;
    let before = until_stored(&hubs[0], "room1", 0).await;
    let mut clients = Vec::new();
    for hub in &hubs {
        up(hub).await;
        clients.push(Client::enter(hub).await.0);
    }
    let sending = hubs.iter().enumerate().map(|(sender, hub)| async move {
        for number in 0..EACH {
            let sent = hub.to("room1").emit("n", &(sender, number)).unwrap();
            assert_eq!((sent.stored, sent.matched), (Stored::Queued, 0));
            tokio::task::yield_now().await;
        }
    });
    futures::future::join_all(sending).await;
    let mut got = Vec::new();
    for client in &mut clients {
        got.push(client.read_many(3 * EACH).await);
    }
    let stored = hubs[0].room("room1").since(before).await.unwrap();
    let stored: Vec<Value> = stored.iter().map(|it| it.json().unwrap()).collect();
    for (sender, _) in hubs.iter().enumerate() {
        let own = stored.iter().filter(|it| it[0] == sender).map(|it| it[1].clone());
        assert!(own.eq((0..EACH).map(|number| json!(number))), "the order of each sender");
    }
    assert!(got.iter().all(|got| *got == stored), "another order than that of the store");
}

#[tokio::test]
async fn each_limit_removes_the_oldest_messages() {
    let Some(server) = start(&[]).await else { return };
    let limits = History::new();
    // The record of an event with one letter and three digits has 22 bytes, and counts 64 more.
    let hub = Hub::builder()
        .envelope()
        .history("few", limits.clone().messages(4))
        .history("many", limits.clone().messages(160))
        .history("none", limits.clone().messages(0))
        .history("small", limits.clone().bytes(3 * (64 + 22)))
        .history("short", limits.clone().age(Duration::from_millis(1)))
        .history("all", limits.age(Duration::MAX).messages(usize::MAX).bytes(usize::MAX))
        .history_store(RedisHistory::new(config(server.port)).unwrap())
        .build();
    for room in ["few", "none", "small", "short", "all"] {
        for number in 101..=109 {
            emit(&hub, room, number).await;
        }
        until_stored(&hub, room, 9).await;
    }
    pause().await;
    for (room, expected) in
        [("few", 106..110), ("none", 0..0), ("small", 107..110), ("short", 0..0), ("all", 101..110)]
    {
        let position = hub.room(room).position().await.unwrap();
        assert_eq!(position.offset, 9, "{room}");
        assert_eq!(numbers(&hub, room).await, expected.clone().collect::<Vec<_>>(), "{room}");
        let history = hub.room(room);
        let since = |offset| history.since(Position { offset, ..position });
        let missed = since(9 - expected.len() as u64).await.unwrap();
        assert_eq!(missed.len(), expected.len());
        let gone = 9_u64.checked_sub(expected.len() as u64 + 1);
        if let Some(offset) = gone {
            assert_eq!(since(offset).await, Err(HistoryError::Trimmed), "{room}");
        }
        for forged in [
            Position { epoch: 1, offset: 9 },
            Position { offset: 10, ..position },
            Position { offset: u64::MAX, ..position },
        ] {
            let unknown = hub.room(room).since(forged).await;
            assert_eq!(unknown, Err(HistoryError::UnknownPosition), "{room} {forged}");
        }
    }
    let position = hub.room("all").position().await.unwrap();
    hub.room("all").trim(Position { offset: 7, ..position }).await.unwrap();
    hub.room("all").trim(Position { epoch: 1, offset: 9 }).await.unwrap();
    assert_eq!(numbers(&hub, "all").await, [108, 109]);

    // It takes the place of several, and counts what it has.
    const LONG: usize = 12_345_678_901_234;
    for (number, expected) in [(LONG, [109, LONG]), (110, [LONG, 110])] {
        let last = hub.room("small").position().await.unwrap();
        emit(&hub, "small", number).await;
        until_stored(&hub, "small", last.offset + 1).await;
        assert_eq!(numbers(&hub, "small").await, expected);
    }
    // Redis has a few more of a room that nobody reads. Who reads it does not get them.
    let mut admin = admin(server.port).await;
    for number in 0..400 {
        emit(&hub, "many", number).await;
    }
    until_stored(&hub, "many", 400).await;
    assert_eq!(numbers(&hub, "many").await, (240..400).collect::<Vec<_>>());
    for number in 400..600 {
        emit(&hub, "many", number).await;
    }
    let len: usize = within(async {
        loop {
            let keys = "return redis.call('XLEN', redis.call('KEYS', '*:s:*many')[1])";
            let state = "return redis.call('HGET', redis.call('KEYS', '*:m:*many')[1], 'last')";
            let mut eval = async |script| -> usize {
                redis::cmd("EVAL").arg(script).arg(0).query_async(&mut admin).await.unwrap()
            };
            if eval(state).await == 600 {
                return eval(keys).await;
            }
            pause().await;
        }
    })
    .await;
    assert!((160..=170).contains(&len), "{len}");
    assert_eq!(numbers(&hub, "many").await, (440..600).collect::<Vec<_>>());
    let last = hub.room("many").position().await.unwrap();
    let trimmed = hub.room("many").since(Position { offset: 439, ..last }).await;
    assert_eq!(trimmed, Err(HistoryError::Trimmed));
    // Redis keeps a room for as long as its messages, and its position longer.
    for (kind, least) in [("s", 3_600_000), ("m", 24 * 3_600_000)] {
        let keys: Vec<String> =
            within(redis::cmd("KEYS").arg(format!("*:{kind}:*few")).query_async(&mut admin))
                .await
                .unwrap();
        let time: i64 =
            within(redis::cmd("PTTL").arg(&keys[0]).query_async(&mut admin)).await.unwrap();
        assert!(time > least - 300_000 && keys.len() == 1, "{keys:?}: {time} ms");
    }
}

#[tokio::test]
async fn a_history_outlives_the_hubs_and_rooms_and_prefixes_do_not_mix() {
    let Some(server) = start(&[]).await else { return };
    let hub = hubs(server.port, 1).await.remove(0);
    let admin = hub.of("/admin");
    emit(&hub, "room1", 1).await;
    emit(&admin, "room1", 2).await;
    emit(&hub, "room 2:{x}", 3).await;
    let position = until_stored(&hub, "room1", 1).await;
    until_stored(&hub, "room 2:{x}", 1).await;
    drop((hub, admin));
    let hub = hubs(server.port, 1).await.remove(0);
    assert_eq!(hub.room("room1").position().await.unwrap(), position);
    assert_eq!(numbers(&hub, "room1").await, [1]);
    assert_eq!(numbers(&hub.of("/admin"), "room1").await, [2]);
    assert_eq!(numbers(&hub, "room 2:{x}").await, [3]);
    let store = RedisHistory::new(config(server.port)).unwrap().prefix("other").unwrap();
    let other = Hub::builder().history("room*", History::new()).history_store(store).build();
    assert_eq!(other.room("room1").latest(9).await.unwrap(), []);
    let unknown = other.room("room1").since(position).await;
    assert_eq!(unknown, Err(HistoryError::UnknownPosition));
}

#[tokio::test]
async fn a_store_that_is_down_refuses_and_other_rooms_go_on() {
    let Some(mut server) = start(&[]).await else { return };
    let hub = hubs(server.port, 1).await.remove(0);
    let (mut client, _socket) = Client::enter(&hub).await;
    for room in ["room1", "room2"] {
        emit(&hub, room, 0).await;
        assert_eq!(client.next().await, Some(json!(0)));
    }
    server.kill();
    refused(&hub).await;
    let refused = hub.to("room1").emit("n", &1).unwrap();
    assert_eq!((refused.stored, refused.matched), (Stored::Refused, 0));
    assert_eq!(hub.to("live").emit("n", &2).unwrap().queued, 1);
    assert_eq!(client.next().await, Some(json!(2)));
    // Whether the member has missed a message of another node is not known any more.
    server.restart().await;
    emit(&hub, "room1", 3).await;
    within(async { while client.next().await.is_some() {} }).await;
    empty(&hub).await;
    let welcome = client.resume(&hub).await;
    assert_eq!((&welcome["recovered"], &welcome["reason"]), (&json!(false), &json!("missed")));
}

#[tokio::test]
async fn what_redis_refuses_is_reported_and_other_rooms_go_on() {
    let Some(server) = start(&[]).await else { return };
    let hub = hubs(server.port, 1).await.remove(0);
    let (mut client, _socket) = Client::enter(&hub).await;
    for room in ["room1", "room2"] {
        emit(&hub, room, 0).await;
        assert_eq!(client.next().await, Some(json!(0)));
    }
    let mut events = hub.events();
    let mut admin = admin(server.port).await;
    let keys: Vec<String> =
        within(redis::cmd("KEYS").arg("ws:*:s:room1").query_async(&mut admin)).await.unwrap();
    let set = redis::cmd("SET").arg(&keys[0]).arg("x").clone();
    let _: () = within(set.query_async(&mut admin)).await.unwrap();
    for (room, setting, allowed) in [
        ("room1", "maxmemory 0", "maxmemory 0"),
        ("room2", "maxmemory 1", "maxmemory 0"),
        ("room2", "min-replicas-to-write 1", "min-replicas-to-write 0"),
    ] {
        servers::command(&mut admin, &format!("CONFIG SET {setting}")).await;
        assert_eq!(hub.to(room).emit("n", &1).unwrap().stored, Stored::Queued);
        let event = within(events.next()).await;
        assert_eq!(event, Some(HubEvent::NotStored { messages: 1 }), "{room}, {setting}");
        servers::command(&mut admin, &format!("CONFIG SET {allowed}")).await;
    }
    // The session was never lost, so nothing has to be asked for again.
    assert_eq!(hub.to("room2").emit("n", &2).unwrap().stored, Stored::Queued);
    assert_eq!(client.next().await, Some(json!(2)));
    assert!(matches!(hub.room("room1").latest(1).await, Err(HistoryError::Unavailable(_))));
}

#[tokio::test]
async fn a_server_that_starts_again_from_an_older_state_begins_anew() {
    let Some(mut server) = start(&[]).await else { return };
    let hub = hubs(server.port, 1).await.remove(0);
    let (mut client, _socket) = Client::enter(&hub).await;
    emit(&hub, "room1", 0).await;
    let saved = until_stored(&hub, "room1", 1).await;
    let mut admin = admin(server.port).await;
    let _: () = within(redis::cmd("SAVE").query_async(&mut admin)).await.unwrap();
    for number in 1..3 {
        emit(&hub, "room1", number).await;
    }
    assert_eq!(client.read_many(3).await, [0, 1, 2]);
    server.restart().await;
    up(&hub).await;
    // It would have this number in the old state, after others that the client does not have.
    for number in 3..6 {
        emit(&hub, "room1", number).await;
    }
    let position = until_stored(&hub, "room1", 3).await;
    assert_ne!(position.epoch, saved.epoch);
    assert_eq!(numbers(&hub, "room1").await, [3, 4, 5]);
    let since = hub.room("room1").since(saved).await;
    assert_eq!(since, Err(HistoryError::UnknownPosition));
    while client.next().await.is_some() {}
    empty(&hub).await;
    assert_eq!(client.resume(&hub).await["reason"], "missed");
}

/// A line of `INFO`, behind its name.
async fn info(admin: &mut MultiplexedConnection, section: &str, name: &str) -> String {
    let answer = servers::command(admin, &format!("INFO {section}")).await;
    let text: String = redis::from_redis_value(answer).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
}

/// The replica has all that was stored, so only its run of the server is another one.
#[tokio::test]
async fn after_a_failover_to_a_replica_each_client_learns_what_it_cannot_get() {
    let Some(mut primary) = start(&["--repl-diskless-sync-delay", "0"]).await else { return };
    let port = primary.port.to_string();
    let Some(replica) = start(&["--replicaof", "127.0.0.1", &port]).await else { return };
    let (mut of_primary, mut of_replica) = (admin(primary.port).await, admin(replica.port).await);
    // A hub that follows the primary to its replica, and one whose way to the primary is cut before.
    let fallback = format!("redis://127.0.0.1:{}", replica.port);
    let way = Proxy::start(primary.addr()).await;
    let hub = |port: u16| {
        let store = RedisHistory::new(config(port).fallback(fallback.clone())).unwrap();
        let builder = Hub::builder().envelope().history("room*", History::new());
        prepare(builder.history_store(store).recovery(Recovery::new()).build())
    };
    let hubs = [hub(primary.port), hub(way.addr.port())];
    let [near, far] = &hubs;
    for hub in &hubs {
        up(hub).await;
    }
    let rooms = ["room1", "room2"];
    let (mut with_all, _) = Client::enter(near).await;
    let (mut with_gap, _) = Client::enter(far).await;
    let (mut away, _) = Client::enter(near).await;
    for room in rooms {
        for number in 0..3 {
            emit(near, room, number).await;
        }
        for client in [&mut with_all, &mut with_gap, &mut away] {
            assert_eq!(client.read_many(3).await, [0, 1, 2]);
        }
    }
    away.conn.close_now();
    within(async {
        while near.to("live").count() > 1 {
            pause().await;
        }
    })
    .await;
    drop(way);
    refused(far).await;
    let mut saved = Vec::new();
    for room in rooms {
        emit(near, room, 3).await;
        assert_eq!(with_all.next().await, Some(json!(3)));
        saved.push(until_stored(near, room, 4).await);
    }
    let offset = "master_repl_offset:";
    within(async {
        while info(&mut of_replica, "replication", "master_link_status:").await != "up"
            || info(&mut of_primary, "replication", offset).await
                != info(&mut of_replica, "replication", offset).await
        {
            pause().await;
        }
    })
    .await;
    primary.kill();
    refused(near).await;
    // Both come to the replica before it is the master, and it takes no message.
    let accepted = "total_connections_received:";
    let accepted = async |of_replica: &mut MultiplexedConnection| -> usize {
        info(of_replica, "stats", accepted).await.parse().unwrap()
    };
    let before = accepted(&mut of_replica).await;
    within(async {
        while accepted(&mut of_replica).await < before + 12 {
            for hub in &hubs {
                let sent = hub.to("room1").emit("n", &"refused").unwrap();
                assert_ne!(sent.stored, Stored::Queued, "by a replica");
            }
            pause().await;
        }
    })
    .await;
    servers::command(&mut of_replica, "REPLICAOF NO ONE").await;
    // Also if nothing comes after what they have missed.
    for client in [&mut with_all, &mut with_gap] {
        assert_eq!(client.next().await, None, "a message behind a gap");
    }
    for (hub, client) in [(near, &mut with_all), (far, &mut with_gap), (near, &mut away)] {
        up(hub).await;
        let welcome = client.resume(hub).await;
        assert_eq!((&welcome["recovered"], &welcome["reason"]), (&json!(false), &json!("missed")));
    }
    within(async {
        while near.to("room1").count() < 2 || far.to("room1").count() < 1 {
            pause().await;
        }
    })
    .await;
    for (room, saved) in rooms.into_iter().zip(saved) {
        for number in 4..6 {
            emit(near, room, number).await;
        }
        for client in [&mut with_all, &mut with_gap, &mut away] {
            assert_eq!(client.read_many(2).await, [4, 5]);
        }
        let position = until_stored(far, room, 2).await;
        assert_ne!(position.epoch, saved.epoch);
        assert_eq!(numbers(far, room).await, [4, 5]);
        let since = far.room(room).since(saved).await;
        assert_eq!(since, Err(HistoryError::UnknownPosition));
    }
}

/// How the first request of a hub after the change is made.
#[derive(Clone, Copy, Debug)]
enum FirstRequest {
    Append,
    /// A member asks where the history is.
    Position,
}

/// A server becomes a replica, and closes no connection → the next server has the histories.
async fn check_demoted(first: FirstRequest) {
    let (Some(server), Some(next)) = (start(&[]).await, start(&[]).await) else { return };
    let fallback = format!("redis://127.0.0.1:{}", next.port);
    let store = RedisHistory::new(config(server.port).fallback(fallback)).unwrap();
    let builder = Hub::builder().envelope().history("room*", History::new());
    let hub = prepare(builder.history_store(store).recovery(Recovery::new()).build());
    up(&hub).await;
    // Its master is never there, so it does not load anything.
    let replica = format!("REPLICAOF 127.0.0.1 {}", support::free_port());
    servers::command(&mut admin(server.port).await, &replica).await;
    let mut client = None;
    if let FirstRequest::Position = first {
        client = Some(Client::enter(&hub).await);
    }
    let mut of_next = admin(next.port).await;
    let moved = async {
        while servers::command(&mut of_next, "KEYS ws:*:m:room1").await
            == redis::Value::Array(Vec::new())
        {
            if let FirstRequest::Append = first {
                hub.to("room1").emit("n", &1).unwrap();
            }
            pause().await;
        }
    };
    within(moved).await;
    drop(client);
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_left_by_the_first_request() {
    for first in [FirstRequest::Append, FirstRequest::Position] {
        check_demoted(first).await;
    }
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused() {
    let Some(server) = start(&[]).await else { return };
    let driver = DriverConfig::new().max_payload(1000);
    let config = config(server.port).driver(driver);
    let hub = Hub::builder()
        .history("room*", History::new())
        .history_store(RedisHistory::new(config).unwrap())
        .build();
    within(async {
        while hub.to("room1").send("x").stored != Stored::Queued {
            pause().await;
        }
    })
    .await;
    assert_eq!(hub.to("room1").send("x".repeat(900)).stored, Stored::Queued);
    assert_eq!(hub.to("room1").send("x".repeat(1000)).stored, Stored::Refused);
}

#[tokio::test]
async fn what_was_missed_while_the_connection_was_lost_is_read_and_comes_in_order() {
    let Some(server) = start(&[]).await else { return };
    let near = hubs(server.port, 1).await.remove(0);
    let (far, cut) = Cut::start(&server, History::new()).await;
    let (mut client, _socket) = Client::enter(&far).await;
    emit(&near, "room1", 0).await;
    assert_eq!(client.next().await, Some(json!(0)));
    let cut = cut.cut(&far).await;
    // More than one page of a read.
    let count = 700;
    for number in 1..count {
        emit(&near, "room1", number).await;
    }
    until_stored(&near, "room1", count as u64).await;
    cut.mend();
    let got = client.read_many(count - 1).await;
    assert!(got.into_iter().eq((1..count).map(|number| json!(number))));
    // The session goes on, and what comes next is live.
    emit(&near, "room1", count).await;
    assert_eq!(client.next().await, Some(json!(count)));
}

/// A hub whose way to Redis is cut, and lets nothing through until it is mended.
struct Cut {
    first: Option<Proxy>,
    second: Proxy,
}

impl Cut {
    async fn start(server: &Server, limits: History) -> (Hub, Self) {
        let (first, second) =
            (Proxy::start(server.addr()).await, Proxy::start(server.addr()).await);
        second.stall(true);
        let url = format!("redis://127.0.0.1:{}", second.addr.port());
        let store = RedisHistory::new(config(first.addr.port()).fallback(url)).unwrap();
        let builder = Hub::builder().envelope().history("room*", limits);
        let hub = prepare(builder.history_store(store).recovery(Recovery::new()).build());
        up(&hub).await;
        (hub, Self { first: Some(first), second })
    }

    async fn cut(mut self, hub: &Hub) -> Self {
        self.first = None;
        refused(hub).await;
        self
    }

    fn mend(&self) {
        self.second.stall(false);
    }
}

/// Ends all other connections.
async fn kill_all(admin: &mut MultiplexedConnection) {
    for kind in ["normal", "pubsub"] {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes");
        let _: usize = within(kill.query_async(admin)).await.unwrap();
    }
}

#[tokio::test]
async fn members_of_a_history_that_was_trimmed_meanwhile_learn_it() {
    let Some(server) = start(&[]).await else { return };
    let limits = History::new().messages(3);
    let (near, _way) = Cut::start(&server, limits.clone()).await;
    let (far, cut) = Cut::start(&server, limits).await;
    let mut events = far.events();
    let (mut client, _socket) = Client::enter(&far).await;
    emit(&near, "room1", 0).await;
    assert_eq!(client.next().await, Some(json!(0)));
    let cut = cut.cut(&far).await;
    for number in 1..9 {
        emit(&near, "room1", number).await;
    }
    until_stored(&near, "room1", 9).await;
    cut.mend();
    let mut got = Vec::new();
    while let Some(number) = client.next().await {
        got.push(number);
    }
    assert!(got.is_empty(), "a part of what was missed: {got:?}");
    let is_gap =
        |event: &HubEvent| matches!(event, HubEvent::HistoryGap { room, .. } if **room == *"room1");
    within(async { while !is_gap(&events.next().await.unwrap()) {} }).await;
    empty(&far).await;
    assert_eq!(client.resume(&far).await["reason"], "missed");
}

#[tokio::test]
async fn a_redis_cluster_divides_the_rooms_among_its_masters() {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    let port = cluster.servers[1].port;
    let hub = || {
        let store = RedisHistory::new(config(port).sharded()).unwrap();
        Hub::builder().envelope().history("*", History::new()).history_store(store).build()
    };
    let (one, two) = (prepare(hub()), hub());
    for hub in [&one, &two] {
        up(hub).await;
    }
    let (mut client, socket) = Client::enter(&one).await;
    let rooms: Vec<_> = (0..20).map(|room| format!("r{room}")).collect();
    rooms.iter().for_each(|room| socket.join(room).unwrap());
    for (number, room) in rooms.iter().enumerate() {
        emit(&two, room, number).await;
    }
    // Each master has an order of its own.
    let mut got: Vec<_> =
        client.read_many(20).await.iter().map(|it| it.as_u64().unwrap()).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..20));
    for (number, room) in rooms.iter().enumerate() {
        assert_eq!(numbers(&one, room).await, [number]);
    }
    for admin in &mut cluster.admins {
        let keys: usize = within(redis::cmd("DBSIZE").query_async(admin)).await.unwrap();
        assert!(keys > 0 && keys < 2 * 21, "{keys}");
    }
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_documentation_has_a_history() {
    let docs = include_str!("../src/history/mod.rs");
    let rights = docs.split_whitespace().map(|word| word.trim_matches(['`', ',']));
    let rights = rights.filter(|word| word.starts_with('+') && word.len() > 3);
    let broker = "+hello +auth +ping +publish +subscribe +unsubscribe";
    let rules = format!("ws on >secret resetkeys resetchannels ~ws:* &ws:* -@all {broker}");
    let user: Vec<_> = ["--user"].into_iter().chain(rules.split(' ')).chain(rights).collect();
    let Some(server) = start(&user).await else { return };
    let store = |prefix| {
        let url = format!("redis://ws:secret@127.0.0.1:{}", server.port);
        let config = RedisConfig::new(url);
        RedisHistory::new(config).unwrap().prefix(prefix).unwrap()
    };
    let hub = |prefix| {
        prepare(
            Hub::builder()
                .envelope()
                .history("*", History::new())
                .history_store(store(prefix))
                .build(),
        )
    };
    let (own, other) = (hub("ws"), hub("other"));
    let (mut client, _socket) = Client::enter(&own).await;
    emit(&own, "room1", 1).await;
    assert_eq!(client.next().await, Some(json!(1)));
    assert_eq!(numbers(&own, "room1").await, [1]);
    let position = until_stored(&own, "room1", 1).await;
    own.room("room1").trim(position).await.unwrap();
    assert_eq!(numbers(&own, "room1").await, [0; 0]);
    assert_eq!(other.to("room1").send("x").stored, Stored::Refused);
}

/// A client that asks a node for what is behind the positions that it has. It may get the newest of
/// it as a member, too.
#[tokio::test]
async fn a_client_that_remembers_positions_misses_nothing_when_its_node_dies() {
    let Some(server) = start(&[]).await else { return };
    let mut hubs = hubs(server.port, 2).await;
    for hub in &hubs {
        hub.on(
            "missed",
            async |socket: Socket, ws_events::Json(last): ws_events::Json<Position>| {
                socket.hub().room("room1").since(last).await
            },
        );
    }
    let sender = hubs[1].clone();
    let (mut client, _socket) = Client::enter(&hubs[0]).await;
    for number in 0..5 {
        emit(&sender, "room1", number).await;
    }
    let got = client.read_many(3).await;
    let last: Position = client.at.as_ref().unwrap().parse().unwrap();
    assert_eq!((got.len(), last.offset), (3, 3));
    // It does not drain, and keeps nothing.
    drop(hubs.remove(0));
    client.conn.close_now();
    for number in 5..9 {
        emit(&sender, "room1", number).await;
    }
    let welcome = client.resume(&hubs[0]).await;
    assert_eq!(welcome["reason"], "unknown_session");
    within(async {
        while hubs[0].to("live").count() < 1 {
            pause().await;
        }
    })
    .await;
    client.conn.write(format!(r#"{{"event":"missed","id":1,"data":"{last}"}}"#)).await.unwrap();
    emit(&sender, "room1", 9).await;
    // Live events may come before the answer that has those before them.
    let (mut next, mut numbers, mut known) = (last.offset + 1, Vec::new(), BTreeMap::new());
    while numbers.len() < 7 {
        let message = within(client.conn.read()).await.unwrap();
        let message: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        let events = match &message["ack"] {
            Value::Null => vec![message],
            _ => message["data"].as_array().unwrap().clone(),
        };
        for event in events {
            let at: Position = event["at"].as_str().unwrap().parse().unwrap();
            assert_eq!(at.epoch, last.epoch);
            known.insert(at.offset, event["data"].as_u64().unwrap());
        }
        while let Some(number) = known.remove(&next) {
            next += 1;
            numbers.push(number);
        }
    }
    assert!(numbers.into_iter().eq(3..10));
}

/// A client that loses its connection at random until `calm`. Returns how often it was not recovered.
async fn run_client(hub: Hub, number: u64, calm: watch::Receiver<bool>) -> usize {
    let mut random = SmallRng::seed_from_u64(number);
    let mut client = Client::connect(&hub, None, Value::Null).await;
    let mut last: BTreeMap<String, Position> = BTreeMap::new();
    let (mut lost, mut ended) = (0, Vec::new());
    while ended.len() < 2 {
        if !*calm.borrow() && random.random_ratio(1, 60) {
            client.conn.close_now();
        }
        let Some(data) = client.next().await else {
            // A loss of messages may end an attempt before its answer, too.
            let (token, at) = (client.token.clone(), client.at.clone());
            if let Some(next) = Client::try_connect(&hub, token, at).await {
                client = next;
                if client.welcome["recovered"] != true {
                    lost += 1;
                    last.clear();
                    ended.clear();
                }
            }
            continue;
        };
        let at: Position = client.at.as_ref().unwrap().parse().unwrap();
        let room = data[0].as_str().unwrap().to_owned();
        if let Some(before) = last.insert(room.clone(), at) {
            let next = Position { offset: before.offset + 1, ..before };
            assert_eq!(at, next, "client {number} in {room}");
        }
        if data[1] == LAST && !ended.contains(&room) {
            ended.push(room);
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_have_every_message_once_and_in_order_or_learn_that_their_session_is_new() {
    let Some(mut server) = start(&[]).await else { return };
    let hubs = hubs(server.port, 3).await;
    let (calm, stop) = (watch::Sender::new(false), watch::Sender::new(false));
    let clients: Vec<_> = (0..24_u64)
        .map(|number| {
            let hub = hubs[number as usize % 3].clone();
            tokio::spawn(run_client(hub, number, calm.subscribe()))
        })
        .collect();
    let senders: Vec<_> = hubs
        .iter()
        .map(|hub| tokio::spawn(send_numbers(hub.clone(), calm.subscribe(), stop.subscribe())))
        .collect();
    let stored = async |count| {
        let before = until_stored(&hubs[0], "room1", 1).await;
        until_stored(&hubs[0], "room1", before.offset + count).await;
    };
    stored(50).await;
    // Twice the connections alone, and then the server.
    for _ in 0..2 {
        kill_all(&mut admin(server.port).await).await;
        stored(50).await;
    }
    server.restart().await;
    for hub in &hubs {
        up(hub).await;
    }
    stored(50).await;
    calm.send_replace(true);
    let lost = within(futures::future::join_all(clients)).await;
    stop.send_replace(true);
    for sender in senders {
        sender.await.unwrap();
    }
    let lost: Vec<_> = lost.into_iter().map(Result::unwrap).collect();
    // Only at the restart, and once more if a client came back while Redis was away.
    assert!(lost.iter().all(|lost| (1..=3).contains(lost)), "{lost:?}");
}
