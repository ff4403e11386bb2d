//! Does the broker work with real servers of Redis?
//!
//! Without `redis-server` the tests are skipped, and fail if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

#[path = "support/servers.rs"]
mod servers;
#[path = "../../broker/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use servers::{RedisCluster, admin, command, start};
use support::contract::{self, Moment};
use support::proxy::Proxy;
use support::{Node, Server, hubs, subject, within};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use ws_events::broker::Broker;
use ws_events::cluster::DeliveryOrder;
use ws_events_redis::{DriverConfig, RedisBroker, RedisConfig};

fn broker(config: RedisConfig) -> Arc<dyn Broker> {
    Arc::new(RedisBroker::new(config).unwrap())
}

fn connect(port: u16, config: DriverConfig) -> Arc<dyn Broker> {
    broker(RedisConfig::new(format!("redis://127.0.0.1:{port}")).driver(config))
}

fn connect_sharded(port: u16, config: DriverConfig) -> Arc<dyn Broker> {
    broker(RedisConfig::new(format!("redis://127.0.0.1:{port}")).sharded().driver(config))
}

#[tokio::test]
async fn envelopes_arrive_once_and_in_the_same_order_everywhere() {
    let Some(server) = start(&[]).await else { return };
    contract::check_order(server.port, connect).await;
}

#[tokio::test]
async fn an_outage_loses_what_is_reported() {
    let Some(mut server) = start(&[]).await else { return };
    for moment in [Moment::Idle, Moment::UnderLoad, Moment::WhileSubscribing] {
        // Redis may answer the publisher and be killed before it writes to the subscriber: a batch.
        contract::check_restart(&mut server, connect, moment, 64).await;
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_replaced() {
    let Some(server) = start(&[]).await else { return };
    contract::check_black_hole(&server, connect).await;
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued() {
    let Some(server) = start(&[]).await else { return };
    contract::check_shutdown(server.port, connect).await;
}

#[tokio::test]
async fn only_subscribed_subjects_arrive() {
    let Some(server) = start(&[]).await else { return };
    contract::check_unsubscribe(server.port, connect).await;
}

#[tokio::test]
async fn an_envelope_over_a_bound_is_refused() {
    let Some(server) = start(&[]).await else { return };
    contract::check_bounds(server.port, connect, 1024 * 1024).await;
}

#[tokio::test]
async fn connections_that_redis_kills_are_replaced() {
    let Some(server) = start(&[]).await else { return };
    let subjects = [subject("ws.a")];
    let node = Node::up(connect(server.port, DriverConfig::new()), &subjects).await;
    let mut admin = admin(server.port).await;
    for (round, kind) in ["pubsub", "normal"].into_iter().enumerate() {
        command(&mut admin, &format!("CLIENT KILL TYPE {kind} SKIPME yes")).await;
        node.recorder.until_status("up", round + 2).await;
        node.publish(&subjects[0], kind).await;
        node.recorder.until(|it| it.texts().contains(&kind.to_owned())).await;
    }
    // While it is paused, Redis answers nothing, and nothing is lost.
    command(&mut admin, "CLIENT PAUSE 200 ALL").await;
    node.publish(&subjects[0], "paused").await;
    node.recorder.until(|it| it.texts().contains(&"paused".to_owned())).await;
    assert_eq!(node.recorder.statuses(), ["up", "down", "up", "down", "up"]);
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_disconnected_and_comes_back() {
    let limit = ["--client-output-buffer-limit", "pubsub", "64kb", "0", "0"];
    let Some(server) = start(&limit).await else { return };
    let proxy = Proxy::start(server.addr()).await;
    let subjects = [subject("ws.a")];
    let slow = Node::up(connect(proxy.addr.port(), DriverConfig::new()), &subjects).await;
    let fast = Node::up(connect(server.port, DriverConfig::new()), &[]).await;
    let mut admin = admin(server.port).await;
    proxy.stall(true);
    within(async {
        // Until the buffers of both kernels are full, too.
        while command(&mut admin, "CLIENT LIST TYPE pubsub").await != Value::BulkString(vec![]) {
            fast.publish(&subjects[0], vec![0; 256 * 1024]).await;
        }
    })
    .await;
    proxy.stall(false);
    slow.recorder.until_status("up", 2).await;
    fast.publish(&subjects[0], "after").await;
    slow.recorder.until(|it| it.texts().contains(&"after".to_owned())).await;
    assert_eq!(fast.recorder.statuses(), ["up"]);
}

#[tokio::test]
async fn a_password_is_required() {
    let Some(server) = start(&["--requirepass", "secret"]).await else { return };
    let (port, subjects) = (server.port, [subject("ws.a")]);
    let refused = [
        (format!("redis://127.0.0.1:{port}"), "NOAUTH"),
        (format!("redis://:wrong@127.0.0.1:{port}"), "WRONGPASS"),
    ];
    for (url, cause) in refused {
        let node = Node::start(broker(RedisConfig::new(url)), &subjects);
        node.recorder.until_status("down", 1).await;
        let causes = node.recorder.causes();
        assert!(causes[0].contains(cause) && !causes[0].contains("wrong@"), "{causes:?}");
    }
    let url = format!("redis://:secret@127.0.0.1:{port}");
    Node::up(broker(RedisConfig::new(url)), &subjects).await;
}

#[tokio::test]
async fn a_user_with_the_smallest_rights_reaches_its_prefix_alone() {
    let rules = "ws on >secret resetchannels &chat.* -@all +hello +auth +ping +publish +subscribe \
                 +unsubscribe";
    let user: Vec<_> = ["--user"].into_iter().chain(rules.split_whitespace()).collect();
    let Some(server) = start(&user).await else { return };
    let connect = || {
        let url = format!("redis://ws:secret@127.0.0.1:{}", server.port);
        broker(RedisConfig::new(url))
    };
    let node = Node::up(connect(), &[subject("chat.a")]).await;
    let other = Node::start(connect(), &[subject("ws.a")]);
    other.recorder.until_status("down", 1).await;
    assert!(other.recorder.causes()[0].contains("permissions"), "{:?}", other.recorder.causes());
    // What is refused is counted.
    node.publish(&subject("ws.a"), "foreign").await;
    node.recorder.until_status("lost", 1).await;
    assert_eq!(node.recorder.lost(), 1);
}

#[tokio::test]
async fn tls_needs_a_certificate_that_is_trusted() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = support::new_folder();
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert_file, key.cert.pem()).unwrap();
    std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
    let server = Server::start("redis-server", |port, folder| {
        let (cert, key) = (cert_file.to_str().unwrap(), key_file.to_str().unwrap());
        let port = port.to_string();
        let arguments = [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-cert-file", cert],
            ["--tls-key-file", key],
            ["--tls-ca-cert-file", cert],
            ["--tls-auth-clients", "no"],
            ["--bind", "127.0.0.1"],
            ["--save", ""],
            ["--dir", folder],
        ];
        arguments.concat().into_iter().map(str::to_owned).collect()
    });
    let Some(server) = server.await else { return };
    let url = format!("rediss://localhost:{}", server.port);
    let untrusted = Node::start(broker(RedisConfig::new(url.as_str())), &[]);
    untrusted.recorder.until_status("down", 1).await;
    let causes = untrusted.recorder.causes();
    assert!(causes[0].contains("certificate"), "{causes:?}");

    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider);
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let subjects = [subject("ws.a")];
    Node::up(broker(RedisConfig::new(url).tls(Arc::new(tls))), &subjects).await;
    drop(std::fs::remove_dir_all(folder));
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_fails() {
    let Some(server) = start(&[]).await else { return };
    let unused = support::free_port();
    let config = RedisConfig::new(format!("redis://127.0.0.1:{unused}"))
        .fallback(format!("redis://127.0.0.1:{}", server.port));
    let node = Node::up(broker(config), &[subject("ws.a")]).await;
    assert_eq!(node.recorder.statuses(), ["down", "up"]);
}

#[tokio::test]
async fn hubs_get_every_message_once_and_in_order() {
    let Some(server) = start(&[]).await else { return };
    for order in [DeliveryOrder::LocalFirst, DeliveryOrder::BrokerOrdered] {
        hubs::check_steady(&server, connect, order).await;
    }
}

#[tokio::test]
async fn hubs_report_what_they_did_not_get_in_an_outage() {
    let Some(mut server) = start(&[]).await else { return };
    hubs::check_outage(&mut server, connect).await;
}

#[tokio::test]
async fn hubs_with_a_buffer_lose_nothing_in_a_short_outage() {
    let Some(mut server) = start(&[]).await else { return };
    hubs::check_buffer(&mut server, connect).await;
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing() {
    let Some(server) = start(&[]).await else { return };
    hubs::check_rolling_restart(&server, connect).await;
}

#[tokio::test]
async fn hubs_know_who_is_present_after_an_outage() {
    let Some(mut server) = start(&[]).await else { return };
    hubs::check_presence(&mut server, connect).await;
}

#[tokio::test]
async fn a_cluster_divides_the_subjects_and_keeps_the_order() {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    let port = cluster.servers[0].port;
    contract::check_order(port, connect_sharded).await;
    contract::check_unsubscribe(port, connect_sharded).await;
    contract::check_shutdown(port, connect_sharded).await;

    // 64 subjects, on all masters. Then the slot of one of them moves.
    let subjects: Vec<_> = (0..64).map(|number| subject(&format!("ws.p64.{number}"))).collect();
    let node = Node::up(connect_sharded(port, DriverConfig::new()), &subjects).await;
    for index in 0..3 {
        let channels = command(&mut cluster.admins[index], "PUBSUB SHARDCHANNELS").await;
        let channels: Vec<String> = redis::from_redis_value(channels).unwrap();
        assert!(!channels.is_empty() && channels.len() < 64, "{channels:?}");
    }
    let slot = command(&mut cluster.admins[0], "CLUSTER KEYSLOT ws.p64.0").await;
    let slot: u16 = redis::from_redis_value(slot).unwrap();
    let owner = usize::from(slot / 5461).min(2);
    let target = (owner + 1) % 3;
    let id = cluster.text(target, "CLUSTER MYID").await;
    for index in [target, owner, (owner + 2) % 3] {
        let set = format!("CLUSTER SETSLOT {slot} NODE {id}");
        command(&mut cluster.admins[index], &set).await;
    }
    node.recorder.until_status("up", 2).await;
    node.publish(&subjects[0], "moved").await;
    node.recorder.until(|it| it.texts().contains(&"moved".to_owned())).await;

    // A master that is killed and comes back.
    cluster.servers[target].kill();
    node.recorder.until_status("down", 2).await;
    cluster.servers[target].restart().await;
    node.recorder.until_status("up", 3).await;
}

#[tokio::test]
async fn a_cluster_with_a_single_server_is_refused() {
    // Without slots.
    let Some(server) =
        start(&["--cluster-enabled", "yes", "--cluster-port", &support::free_port().to_string()])
            .await
    else {
        return;
    };
    let config = DriverConfig::new().max_backoff(Duration::from_millis(20));
    let node = Node::start(connect_sharded(server.port, config), &[subject("ws.a")]);
    node.recorder.until_status("down", 1).await;
    assert!(node.recorder.causes()[0].contains("slots"), "{:?}", node.recorder.causes());
}
