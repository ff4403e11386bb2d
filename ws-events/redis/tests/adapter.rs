//! Do hubs and official servers of Socket.IO act as one cluster over a real Redis?
//!
//! Without `redis-server` the tests are skipped, and without the packages in
//! `ws-events/socketio/tests/peers` the test with them. Both are failures if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]
#![cfg(feature = "socketio")]

#[path = "../../broker/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde_json::{Value, json};
use support::proxy::Proxy;
use support::{Server, skip, within};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use ws_core::{Conn, pair};
use ws_events::cluster::{
    ClusterConfig, ClusterConfigError, ClusterStats, DeliveryOrder, HubEvent, NodeId, OutagePolicy,
};
use ws_events::{
    Bytes, ClusterDelivery, History, Hub, HubBuilder, Json, Message, ServerEvent, ServerReply,
    Socket, StatusCode,
};
use ws_events_redis::{RedisConfig, SocketIoAdapter};
use ws_events_socketio::SocketIo;

/// The timeout for all steps of the servers in node.
const PATIENCE: Duration = Duration::from_secs(120);

async fn start() -> Option<Server> {
    Server::start("redis-server", |port, folder| {
        let port = port.to_string();
        let base = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let all = [&base[..], &["--dir", folder]].concat();
        all.into_iter().map(str::to_owned).collect()
    })
    .await
}

fn config(port: u16) -> ClusterConfig {
    let config = RedisConfig::new(format!("redis://127.0.0.1:{port}"));
    ClusterConfig::socketio(SocketIoAdapter::new(config).unwrap())
}

async fn admin(port: u16) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    within(client.get_multiplexed_async_connection()).await.unwrap()
}

/// Waits until so many servers have subscribed.
async fn until_subscribed(admin: &mut MultiplexedConnection, namespace: &str, servers: u64) {
    within(async {
        loop {
            let mut command = redis::cmd("PUBSUB");
            command.arg("NUMSUB").arg(format!("socket.io-request#{namespace}#"));
            let (_, count): (String, u64) = command.query_async(admin).await.unwrap();
            if count == servers {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[derive(Serialize)]
struct Nested {
    nested: Bytes,
}

/// What a hub does for a client, as a server of node does it in `cluster.mjs`.
async fn act(socket: Socket, Json((what, arg)): Json<(String, Value)>) -> Json<Value> {
    let hub = socket.hub();
    let fence = || _ = hub.emit("fence", &()).unwrap();
    let id = |at: usize| arg[at].as_str().unwrap().to_owned();
    Json(match &*what {
        "broadcasts" => {
            hub.emit("all", &(1, json!({ "a": [1.5, null, "ü"] }))).unwrap();
            hub.emit("none", &()).unwrap();
            let nested = Nested { nested: Bytes::from_static(b"x") };
            let sent = hub.to("room").emit("room", &(Bytes::from_static(b"\0\xFF"), 7, nested));
            assert_eq!(sent.unwrap().cluster, ClusterDelivery::Published);
            hub.to("even").to("odd").emit("union", &true).unwrap();
            hub.to("even").emit("even", &()).unwrap();
            hub.everyone().except_room("even").emit("not even", &()).unwrap();
            hub.to("room").except(id(1)).emit("not C", &()).unwrap();
            hub.emit_to(id(2), "only D", &()).unwrap();
            hub.ids([id(0)]).emit("only B", &()).unwrap();
            hub.everyone().local().emit("local", &()).unwrap();
            hub.everyone().uncompressed().emit("plain", "text").unwrap();
            hub.send("text");
            hub.send(Message::binary(vec![1]));
            // No socket at all is not every socket.
            hub.ids([""; 0]).emit("nobody", &()).unwrap();
            fence();
            Value::Null
        }
        "volatile" => {
            hub.everyone().volatile().emit("volatile", &()).unwrap();
            Value::Null
        }
        "fence" => {
            fence();
            Value::Null
        }
        "fetch" => {
            let sockets = hub.to("room").except_room("even").fetch_sockets().await;
            assert_eq!(sockets.missing, []);
            json!(sockets.value)
        }
        "count" => {
            let count = hub.everyone().fetch_count().await;
            json!([count.value, count.missing.len()])
        }
        "server emit" => {
            hub.server_emit("hello", &(1, json!({ "a": "ü" }))).unwrap();
            Value::Null
        }
        "server ask" => {
            let answers = ServerReply::ask(&hub, "ask", &20).await.unwrap();
            let values: Vec<Value> = answers.value.iter().map(|it| it.json().unwrap()).collect();
            json!([values, answers.missing.len()])
        }
        "acks" => {
            let limit = Duration::from_millis(arg.as_u64().unwrap());
            let mut acks = hub.to("room").emit_with_ack("question", &3).unwrap().timeout(limit);
            let (mut answers, mut late) = (Vec::<String>::new(), 0);
            while let Some((_, answer)) = acks.next().await {
                match answer {
                    Ok(answer) => answers.push(answer),
                    Err(_) => late += 1,
                }
            }
            answers.sort();
            json!([answers, late, acks.missing().len()])
        }
        "bytes" => {
            let mut acks = hub.to("room").emit_with_ack::<Bytes, _>("question", "bytes").unwrap();
            let mut answers = Vec::new();
            while let Some((_, answer)) = acks.next().await {
                answers.push(answer.unwrap().to_vec());
            }
            answers.sort();
            json!(answers)
        }
        "join and leave" => {
            assert_eq!(hub.everyone().join("hub"), 1);
            hub.to("hub").emit("joined", &()).unwrap();
            assert_eq!(hub.to("even").leave("hub"), 0);
            hub.to("hub").emit("left", &()).unwrap();
            fence();
            Value::Null
        }
        "kick" => {
            let id = arg.as_str().unwrap();
            hub.ids([id]).close(StatusCode::NORMAL_CLOSURE, "").unwrap();
            Value::Null
        }
        _ => panic!("unknown: {what}"),
    })
}

/// A hub that official clients connect to, and its URL.
async fn serve(port: u16) -> (Hub, String) {
    let hub = Hub::builder().build_clustered(config(port)).unwrap();
    hub.on_connect(async |socket: Socket| {
        let auth: Value = socket.auth().unwrap();
        for room in ["room", auth["parity"].as_str().unwrap()] {
            socket.join(room).unwrap();
        }
    });
    hub.on("act", act);
    let server = hub.clone();
    hub.on_server("hello", move |event: ServerEvent| {
        let all = server.everyone().local();
        async move {
            match event.json::<Value>().unwrap() {
                Value::Array(args) => all.emit("server", &(&args[0], &args[1])).unwrap(),
                arg => all.emit("server", &arg).unwrap(),
            };
        }
    });
    hub.on_server("ask", async |event: ServerEvent| {
        let answer = event.json::<u32>().unwrap() + 1;
        assert!(event.reply(&answer).unwrap());
    });
    let _ = hub.of("/admin");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(ws_server_hyper::serve(listener, SocketIo::new(&hub)));
    (hub, url)
}

/// The program with the servers of node. `None` if its packages are not installed.
async fn node(arguments: &[String]) -> Option<Command> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../socketio/tests/peers");
    let packages = ["socket.io", "@socket.io/redis-adapter", "@socket.io/redis-emitter", "redis"];
    let imports: Vec<_> = packages.iter().map(|name| format!("import '{name}';")).collect();
    let probe = ["--input-type=module", "-e", &imports.concat()];
    let probed = Command::new("node").args(probe).current_dir(&peers).output().await;
    if !probed.is_ok_and(|output| output.status.success()) {
        skip("node misses the packages of cluster.mjs: see CONTRIBUTING.md");
        return None;
    }
    let mut command = Command::new("node");
    command.arg("cluster.mjs").args(arguments).current_dir(&peers);
    command.stderr(Stdio::inherit()).kill_on_drop(true);
    Some(command)
}

/// What each client gets of the broadcasts of one server, whose own client is `local`.
fn broadcasts(local: &str, last: &[Value]) -> Value {
    let got = |name: &str| {
        let is_even = ["B", "D"].contains(&name);
        let rows = [
            (true, json!(["all", 1, { "a": [1.5, null, "ü"] }])),
            (true, json!(["none"])),
            (true, json!(["room", { "bytes": [0, 255] }, 7, { "nested": { "bytes": [120] } }])),
            (true, json!(["union", true])),
            (is_even, json!(["even"])),
            (!is_even, json!(["not even"])),
            (name != "C", json!(["not C"])),
            (name == "D", json!(["only D"])),
            (name == "B", json!(["only B"])),
            (name == local, json!(["local"])),
            (true, json!(["plain", "text"])),
            (true, json!(["message", "text"])),
            (true, json!(["message", { "bytes": [1] }])),
        ];
        let got = rows.into_iter().filter(|(gets, _)| *gets).map(|(_, row)| row);
        got.chain(last.iter().cloned()).collect::<Vec<_>>()
    };
    json!({ "A": got("A"), "B": got("B"), "C": got("C"), "D": got("D") })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_and_official_servers_act_as_one() {
    let Some(server) = start().await else { return };
    let (one, first) = serve(server.port).await;
    let (two, second) = serve(server.port).await;
    let Some(mut command) = node(&[server.port.to_string(), first, second]).await else { return };
    let output = timeout(PATIENCE, command.output()).await.expect("it takes too long").unwrap();
    assert!(output.status.success(), "{}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hello = || json!([["server", 1, { "a": "ü" }]]);
    let from_a = json!([["from A", 1]]);
    let (joined, left) = (json!(["joined"]), json!(["left"]));
    let bytes = [0, 1, 2, 3].map(|n| json!({ "bytes": [n] }));
    let emitted = || json!([["emitted", { "bytes": [7] }, "x"], ["joined", 1]]);
    let expected = json!({
        "servers": 4,
        "node": broadcasts("A", &[json!(["message", { "a": 1 }])]),
        "others": { "A": [], "B": from_a, "C": from_a, "D": from_a },
        "hub": broadcasts("C", &[]),
        "nodeFetch": [["A", ["A", "odd", "room"]], ["C", ["C", "odd", "room"]]],
        "nodeFetchAll": 4,
        "hubFetch": [["A", ["odd", "room"]], ["C", ["odd", "room"]]],
        "hubCount": [4, 0],
        "rooms": ["A", "B", "C", "D", "even", "odd", "room"],
        "nodeServer": { "A": [], "B": hello(), "C": hello(), "D": hello() },
        "nodeAsk": [21, 21, 21],
        "hubServer": { "A": hello(), "B": hello(), "C": [], "D": hello() },
        "hubAsk": [[21, 21, 21], 0],
        "nodeAcks": ["A 1", "B 1", "C 1", "D 1"],
        "nodeBytes": bytes,
        "nodeNone": [],
        "hubAcks": [["A 3", "B 3", "C 3", "D 3"], 0, 0],
        "hubBytes": [[0], [1], [2], [3]],
        "nodeLate": ["operation has timed out", ["A 2", "C 2"]],
        "hubLate": [["A 3", "C 3"], 2, 0],
        "left": ["A", "C"],
        "joined": { "A": [joined, left], "B": [joined], "C": [joined, left], "D": [joined] },
        "emitter": {
            "A": emitted(), "B": [["joined", 1]], "C": emitted(), "D": [["joined", 1]],
        },
        "emitterServer": {
            "A": [["server", 2]], "B": [["server", 2]], "C": [["server", 2]], "D": [["server", 2]],
        },
        "admin": [1, 1],
        "adminElsewhere": { "A": [], "B": [], "C": [], "D": [] },
        "connectedBefore": true,
        "reasons": vec!["io server disconnect"; 4],
    });
    for (name, expected) in expected.as_object().unwrap() {
        assert_eq!(&report[name], expected, "{name}");
    }
    assert_eq!(report, expected);
    for hub in [one, two] {
        let stats = ClusterStats::of(&hub).unwrap();
        assert_eq!((stats.malformed, stats.refused, stats.inbox_full), (0, 0, 0));
        assert!(stats.is_up && stats.outages == 0, "{stats:?}");
    }
}

/// A hub with one client, in the room `room`.
struct Member {
    hub: Hub,
    client: Conn,
}

impl Member {
    async fn start(config: ClusterConfig) -> Self {
        let hub = Hub::builder().envelope().build_clustered(config).unwrap();
        let mut events = hub.events();
        within(async { while events.next().await != Some(HubEvent::BrokerUp) {} }).await;
        let (client, server) = pair();
        tokio::spawn(hub.handler()(server));
        within(async {
            while hub.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        hub.everyone().local().join("room");
        Self { hub, client }
    }

    async fn next(&self) -> String {
        within(self.client.read()).await.unwrap().as_text().unwrap().to_owned()
    }

    fn stats(&self) -> ClusterStats {
        ClusterStats::of(&self.hub).unwrap()
    }
}

async fn publish(admin: &mut MultiplexedConnection, channel: &str, message: &[u8]) {
    let mut command = redis::cmd("PUBLISH");
    within(command.arg(channel).arg(message).query_async::<u64>(admin)).await.unwrap();
}

#[tokio::test]
async fn a_malformed_message_is_counted_and_never_delivered() {
    let Some(server) = start().await else { return };
    let mut admin = admin(server.port).await;
    let one = Member::start(config(server.port)).await;
    let two = Member::start(config(server.port)).await;
    until_subscribed(&mut admin, "/", 2).await;
    let (all, requests) = ("socket.io#/#", "socket.io-request#/#");
    let rows = [
        (all, b"garbage".to_vec()),
        (all, Vec::new()),
        (all, vec![0xC1; 10]),
        (all, b"{}".to_vec()),
        // Longer than `DriverConfig::max_payload`.
        (all, vec![0; 1024 * 1024 + 1]),
        ("socket.io#/#room#", b"\x93".to_vec()),
        (requests, b"{".to_vec()),
        (requests, b"[]".to_vec()),
        (requests, br#"{"type":2,"rooms":["x"]}"#.to_vec()),
    ];
    for (channel, message) in &rows {
        publish(&mut admin, channel, message).await;
    }
    // Nobody reads these: a room without members here, and an answer without a question.
    publish(&mut admin, "socket.io#/#elsewhere#", b"garbage").await;
    publish(&mut admin, "socket.io-response#/#", b"garbage").await;
    one.hub.to("room").send("last");
    assert_eq!([one.next().await, two.next().await], ["last", "last"]);
    assert_eq!(two.stats().malformed, rows.len() as u64);
    assert_eq!(two.stats().received, 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_missing() {
    let Some(server) = start().await else { return };
    let mut admin = admin(server.port).await;
    let short = |config: ClusterConfig| config.request_timeout(Duration::from_secs(2));
    let one = Member::start(short(config(server.port))).await;
    let two = Member::start(short(config(server.port))).await;
    two.hub.on_server("ask", async |event: ServerEvent| {
        assert!(event.reply("yes").unwrap());
        assert!(!event.reply("again").unwrap());
    });
    two.hub.on_server("quiet", async |_| {});
    until_subscribed(&mut admin, "/", 2).await;
    let missing = |missing: &[NodeId]| missing.len();
    let sockets = one.hub.to("room").fetch_sockets().await;
    assert_eq!((sockets.value.len(), missing(&sockets.missing)), (2, 0));
    assert_eq!(sockets.value.iter().filter(|socket| socket.node.is_none()).count(), 1);
    assert!(
        sockets.value.iter().all(|socket| socket.rooms.len() == 1 && &*socket.rooms[0] == "room")
    );
    let answers = ServerReply::ask(&one.hub, "ask", &1).await.unwrap();
    let values: Vec<String> = answers.value.iter().map(|it| it.json().unwrap()).collect();
    assert_eq!((values, missing(&answers.missing)), (vec!["yes".to_owned()], 0));
    let answers = ServerReply::ask(&one.hub, "quiet", &1).await.unwrap();
    assert_eq!((answers.value.len(), missing(&answers.missing)), (0, 1));
    // Nobody is asked.
    assert_eq!(one.hub.ids([""; 0]).fetch_count().await.value, 0);

    // A subscriber that never answers, and whose answers are malformed.
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut mute = within(client.get_async_pubsub()).await.unwrap();
    within(mute.subscribe("socket.io-request#/#")).await.unwrap();
    let everyone = one.hub.everyone();
    let asking = everyone.fetch_count();
    let answering = async {
        until_subscribed(&mut admin, "/", 3).await;
        while two.stats().received < 4 {
            tokio::task::yield_now().await;
        }
        publish(&mut admin, "socket.io-response#/#", b"garbage").await;
    };
    let (count, ()) = within(async { tokio::join!(asking, answering) }).await;
    assert_eq!((count.value, missing(&count.missing)), (2, 1));
    assert_eq!((one.stats().malformed, two.stats().malformed), (1, 0));
}

#[tokio::test]
async fn each_server_has_a_presence_of_its_own() {
    let Some(server) = start().await else { return };
    let mut admin = admin(server.port).await;
    let one = Member::start(config(server.port)).await;
    let two = Member::start(config(server.port)).await;
    until_subscribed(&mut admin, "/", 2).await;
    let socket = one.hub.everyone().local().sockets().remove(0);
    let [here, there] = [&one, &two].map(|member| member.hub.presence("room"));
    let mut changes = here.changes();
    changes.next().await;
    here.track(&socket, "ann", &1).unwrap();
    // By then, changes have been passed on.
    within(changes.next()).await;
    one.hub.to("room").send("fence");
    assert_eq!(two.next().await, "fence");
    assert_eq!((here.list().len(), there.list().len()), (1, 0));
    assert_eq!((one.stats().malformed, two.stats().malformed), (0, 0));
}

#[tokio::test]
async fn what_a_hub_cannot_send_before_it_leaves_is_reported() {
    let Some(server) = start().await else { return };
    let proxy = Proxy::start(server.addr()).await;
    let hub = Hub::builder().build_clustered(config(proxy.addr.port())).unwrap();
    let mut events = hub.events();
    assert_eq!(within(events.next()).await, Some(HubEvent::BrokerUp));
    proxy.stall(true);
    let text = "x".repeat(64 * 1024);
    // As much as the pipeline takes, and the buffers of the sockets behind it.
    let last = loop {
        match hub.send(text.as_str()).cluster {
            ClusterDelivery::Published => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(last, ClusterDelivery::Full);
    within(hub.drain(Duration::from_secs(1))).await;
    drop(hub);
    let mut unsent = 0;
    while let Some(event) = within(events.next()).await {
        if let HubEvent::Unsent { envelopes } = event {
            unsent += envelopes;
        }
    }
    assert!(unsent > 0);
}

#[tokio::test]
async fn what_the_protocol_cannot_do_is_an_error_when_the_hub_is_built() {
    let check =
        |builder: HubBuilder, set: fn(ClusterConfig) -> ClusterConfig, what: Option<&str>| {
            // Nothing is connected for an error.
            let error = builder.build_clustered(set(config(1))).err();
            match (error, what) {
                (None, None) => {}
                (Some(ClusterConfigError::Unsupported(text)), Some(what)) => {
                    assert!(text.contains(what), "{text}");
                }
                (error, what) => panic!("{error:?}, not {what:?}"),
            }
        };
    check(Hub::builder(), |it| it, None);
    check(Hub::builder(), |it| it.prefix("my:key").emitter(), None);
    check(Hub::builder(), |it| it.order(DeliveryOrder::BrokerOrdered), Some("BrokerOrdered"));
    let buffer = |it: ClusterConfig| it.outage(OutagePolicy::buffer(1, Duration::from_secs(1)));
    check(Hub::builder(), buffer, Some("Buffer"));
    check(Hub::builder(), |it| it.prefix("a#b"), Some("prefix"));
    check(Hub::builder(), |it| it.prefix(""), Some("prefix"));
    check(Hub::builder(), |it| it.prefix("x".repeat(201)), Some("prefix"));
    let history = Hub::builder().history("room", History::new());
    check(history, |it| it, Some("history"));
}
