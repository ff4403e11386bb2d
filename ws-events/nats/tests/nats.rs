//! Does the broker work with real servers of NATS?
//!
//! Without `nats-server` the tests are skipped, and fail if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

#[path = "../../broker/tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;

use support::contract::{self, Moment};
use support::proxy::Proxy;
use support::{Node, Server, hubs, subject, within};
use ws_events::Hub;
use ws_events::broker::Broker;
use ws_events::cluster::{ClusterConfig, ClusterConfigError, DeliveryOrder};
use ws_events_nats::{DriverConfig, NatsBroker, NatsConfig};

/// A server with a line of configuration.
async fn start(config: &str) -> Option<Server> {
    Server::start("nats-server", |port, folder| {
        let file = format!("{folder}/nats.conf");
        std::fs::write(&file, format!("listen: 127.0.0.1:{port}\n{config}\n")).unwrap();
        vec!["-c".to_owned(), file]
    })
    .await
}

fn broker(config: NatsConfig) -> Arc<dyn Broker> {
    Arc::new(NatsBroker::new(config).unwrap())
}

fn connect(port: u16, config: DriverConfig) -> Arc<dyn Broker> {
    broker(NatsConfig::new(format!("nats://127.0.0.1:{port}")).driver(config))
}

#[tokio::test]
async fn envelopes_of_a_publisher_arrive_once_and_in_order() {
    let Some(server) = start("").await else { return };
    contract::check_order(server.port, connect).await;
}

#[tokio::test]
async fn an_outage_loses_what_is_reported() {
    let Some(mut server) = start("").await else { return };
    for moment in [Moment::Idle, Moment::UnderLoad, Moment::WhileSubscribing] {
        contract::check_restart(&mut server, connect, moment, 0).await;
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_replaced() {
    let Some(server) = start("").await else { return };
    contract::check_black_hole(&server, connect).await;
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued() {
    let Some(server) = start("").await else { return };
    contract::check_shutdown(server.port, connect).await;
}

#[tokio::test]
async fn only_subscribed_subjects_arrive() {
    let Some(server) = start("").await else { return };
    contract::check_unsubscribe(server.port, connect).await;
}

#[tokio::test]
async fn an_envelope_over_a_bound_is_refused() {
    let Some(server) = start("max_payload: 2000").await else { return };
    contract::check_bounds(server.port, connect, 2000).await;
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_disconnected_and_comes_back() {
    let Some(server) = start("max_pending: 2000000\nwrite_deadline: \"1s\"").await else { return };
    let proxy = Proxy::start(server.addr()).await;
    let subjects = [subject("ws.a")];
    let config = DriverConfig::new();
    let slow = Node::up(connect(proxy.addr.port(), config), &subjects).await;
    let fast = Node::up(connect(server.port, DriverConfig::new()), &[]).await;
    proxy.stall(true);
    within(async {
        // The server closes the connection, or a ping of the broker times out.
        while slow.recorder.causes().is_empty() {
            fast.publish(&subjects[0], vec![0; 256 * 1024]).await;
            tokio::task::yield_now().await;
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
async fn a_server_that_is_about_to_stop_is_left_for_another() {
    let Some(first) = start("lame_duck_duration: \"60s\"").await else { return };
    let Some(second) = start("").await else { return };
    let config = NatsConfig::new(format!("nats://127.0.0.1:{}", first.port))
        .fallback(format!("nats://127.0.0.1:{}", second.port));
    let node = Node::up(broker(config), &[subject("ws.a")]).await;
    let signal = format!("--signal=ldm={}", first.id());
    assert!(Command::new("nats-server").arg(signal).status().unwrap().success());
    node.recorder.until_status("up", 2).await;
    assert!(node.recorder.causes()[0].contains("about to stop"), "{:?}", node.recorder.causes());
    let other = Node::up(connect(second.port, DriverConfig::new()), &[]).await;
    other.publish(&subject("ws.a"), "after").await;
    node.recorder.until(|it| it.texts().contains(&"after".to_owned())).await;
}

#[tokio::test]
async fn a_password_is_required() {
    let login = "authorization: { user: ws, password: secret }";
    let Some(server) = start(login).await else { return };
    let (port, subjects) = (server.port, [subject("ws.a")]);
    for url in [format!("nats://127.0.0.1:{port}"), format!("nats://ws:wrong@127.0.0.1:{port}")] {
        let node = Node::start(broker(NatsConfig::new(url)), &subjects);
        node.recorder.until_status("down", 1).await;
        let causes = node.recorder.causes();
        assert!(causes[0].contains("authorization"), "{causes:?}");
    }
    let url = format!("nats://ws:%73ecret@127.0.0.1:{port}");
    Node::up(broker(NatsConfig::new(url)), &subjects).await;
    let options = async_nats::ConnectOptions::with_user_and_password("ws".into(), "secret".into());
    let url = format!("nats://127.0.0.1:{port}");
    Node::up(broker(NatsConfig::new(url).options(options)), &subjects).await;
}

#[tokio::test]
async fn a_subject_that_is_not_permitted_takes_the_broker_down() {
    let permissions = "authorization: { users: [{ user: ws, password: secret, permissions: { \
                       publish: [\"ws.>\", \"_INBOX.>\"], subscribe: [\"ws.>\", \"_INBOX.>\"] } }] }";
    let Some(server) = start(permissions).await else { return };
    let url = format!("nats://ws:secret@127.0.0.1:{}", server.port);
    Node::up(broker(NatsConfig::new(url.as_str())), &[subject("ws.a")]).await;
    let node = Node::start(broker(NatsConfig::new(url)), &[subject("other.a")]);
    node.recorder.until_status("down", 1).await;
    assert!(
        node.recorder.causes()[0].to_lowercase().contains("permissions"),
        "{:?}",
        node.recorder.causes()
    );
}

#[tokio::test]
async fn hubs_get_every_message_once_and_in_order() {
    let Some(server) = start("").await else { return };
    hubs::check_steady(&server, connect, DeliveryOrder::LocalFirst).await;
    // NATS has no total order.
    let broker = NatsBroker::new(NatsConfig::new("nats://127.0.0.1")).unwrap();
    let config = ClusterConfig::new(broker).order(DeliveryOrder::BrokerOrdered);
    let error = Hub::builder().build_clustered(config).unwrap_err();
    assert_eq!(error, ClusterConfigError::NoTotalOrder("nats"));
}

#[tokio::test]
async fn hubs_report_what_they_did_not_get_in_an_outage() {
    let Some(mut server) = start("").await else { return };
    hubs::check_outage(&mut server, connect).await;
}

#[tokio::test]
async fn hubs_with_a_buffer_lose_nothing_in_a_short_outage() {
    let Some(mut server) = start("").await else { return };
    hubs::check_buffer(&mut server, connect).await;
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing() {
    let Some(server) = start("").await else { return };
    hubs::check_rolling_restart(&server, connect).await;
}

#[tokio::test]
async fn hubs_know_who_is_present_after_an_outage() {
    let Some(mut server) = start("").await else { return };
    hubs::check_presence(&mut server, connect).await;
}
