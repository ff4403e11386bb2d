//! Does a broker keep its contract, with its server killed, restarted and unreachable?

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ws_events::broker::{Broker, PublishError, Subject};
use ws_events_broker::DriverConfig;

use super::proxy::Proxy;
use super::{FOREVER, Node, Server, pause, subject, within};

/// Makes a broker for a port of 127.0.0.1.
pub(crate) type Connect = fn(u16, DriverConfig) -> Arc<dyn Broker>;

/// When the server is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Idle,
    UnderLoad,
    WhileSubscribing,
}

/// Three brokers, which publish at the same time on two subjects.
pub(crate) async fn check_order(port: u16, connect: Connect) {
    const COUNT: usize = 1000;
    let subjects = [subject("ws.a"), subject("ws.b")];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::up(connect(port, DriverConfig::new()), &subjects).await);
    }
    let publishing = nodes.iter().enumerate().map(|(publisher, node)| {
        let subjects = &subjects;
        async move {
            for number in 0..COUNT {
                for subject in subjects {
                    node.publish(subject, format!("{publisher}:{number}")).await;
                }
                node.publish(&subject("ws.other"), "not subscribed").await;
            }
        }
    });
    futures::future::join_all(publishing).await;
    for subject in &subjects {
        let mut sequences = Vec::new();
        for node in &nodes {
            node.recorder.until(|_| node.numbers(subject).len() >= 3 * COUNT).await;
            let numbers = node.numbers(subject);
            for publisher in 0..3 {
                let own = numbers.iter().filter(|(from, _)| *from == publisher).map(|it| it.1);
                assert!(own.eq(0..COUNT), "node gets {publisher} out of order, or twice");
            }
            sequences.push(numbers);
        }
        if nodes[0].broker.capabilities().total_order {
            assert!(sequences.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
    for node in &nodes {
        assert!(!node.recorder.texts().contains(&"not subscribed".to_owned()));
        assert_eq!(node.recorder.statuses(), ["up"]);
    }
}

/// The server is killed, and starts again. `unreported` envelopes may have been confirmed by a
/// server that was killed before it forwarded them.
pub(crate) async fn check_restart(
    server: &mut Server,
    connect: Connect,
    moment: Moment,
    unreported: usize,
) {
    let subjects = [subject("ws.a")];
    let node = Node::up(connect(server.port, DriverConfig::new()), &subjects).await;
    let node = Arc::new(node);
    let publishing = match moment {
        Moment::Idle => None,
        Moment::UnderLoad | Moment::WhileSubscribing => {
            let node = Arc::clone(&node);
            Some(tokio::spawn(async move { publish_until_it_is_up_again(&node).await }))
        }
    };
    if publishing.is_some() {
        node.recorder.until(|it| it.count() > 500).await;
    }
    let mut all = subjects.to_vec();
    if matches!(moment, Moment::WhileSubscribing) {
        all.extend((0..2000).map(|number| subject(&format!("ws.many.{number}"))));
        node.broker.subscribe(&all);
    }
    server.kill();
    node.recorder.until_status("down", 1).await;
    assert_eq!(node.broker.publish(&subjects[0], "down".into()), Err(PublishError::Down));
    server.restart().await;
    node.recorder.until_status("up", 2).await;
    let accepted = match publishing {
        None => Vec::new(),
        Some(publishing) => within(publishing).await.unwrap(),
    };
    // All subscriptions are confirmed, so nothing is missed from now on.
    for subject in &all {
        node.publish(subject, format!("after {}", subject.as_str())).await;
    }
    let after = all.iter().map(|subject| format!("after {}", subject.as_str()));
    let after: std::collections::HashSet<_> = after.collect();
    let has_all = |texts: Vec<String>| texts.iter().filter(|it| after.contains(*it)).count();
    node.recorder.until(|it| has_all(it.texts()) >= after.len()).await;

    let arrived: Vec<_> = node.numbers(&subjects[0]).into_iter().map(|it| it.1).collect();
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or twice");
    let missing = accepted.iter().filter(|number| arrived.binary_search(number).is_err()).count();
    let lost = usize::try_from(node.recorder.lost()).unwrap();
    assert!(missing <= lost + unreported, "{missing} are missing, and {lost} reported");
    let statuses = node.recorder.statuses();
    let expected: &[&str] =
        if lost > 0 { &["up", "down", "lost", "up"] } else { &["up", "down", "up"] };
    assert_eq!(statuses, expected, "{moment:?}");
}

/// Publishes numbers through an outage, and returns those that were accepted.
async fn publish_until_it_is_up_again(node: &Node) -> Vec<usize> {
    let subject = subject("ws.a");
    let mut accepted = Vec::new();
    for number in 0.. {
        match node.broker.publish(&subject, format!("0:{number}").into()) {
            Ok(()) => accepted.push(number),
            Err(PublishError::Full) => {}
            Err(error) => {
                assert_eq!(error, PublishError::Down);
                pause().await;
            }
        }
        if node.recorder.statuses().last() == Some(&"up") && node.recorder.causes().len() == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    accepted
}

/// The connection stays open, and nothing arrives any more.
pub(crate) async fn check_black_hole(server: &Server, connect: Connect) {
    let config = DriverConfig::new()
        .ping_interval(Duration::from_millis(100))
        .request_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_millis(500));
    let proxy = Proxy::start(server.addr()).await;
    let subjects = [subject("ws.a")];
    let node = Node::up(connect(proxy.addr.port(), config), &subjects).await;
    proxy.stall(true);
    node.recorder.until_status("down", 1).await;
    assert!(node.recorder.causes()[0].contains("timed out"), "{:?}", node.recorder.causes());
    proxy.stall(false);
    node.recorder.until_status("up", 2).await;
    node.publish(&subjects[0], "after").await;
    node.recorder.until(|it| it.texts().contains(&"after".to_owned())).await;
}

/// A shutdown sends what is queued, and then nothing is accepted.
pub(crate) async fn check_shutdown(port: u16, connect: Connect) {
    let subjects = [subject("ws.a")];
    let node = Node::up(connect(port, DriverConfig::new()), &subjects).await;
    let other = Node::up(connect(port, DriverConfig::new()), &[]).await;
    for number in 0..1000 {
        other.publish(&subjects[0], format!("1:{number}")).await;
    }
    within(other.broker.shutdown(Instant::now() + FOREVER)).await;
    let refused = other.broker.publish(&subjects[0], "late".into());
    assert_eq!(refused, Err(PublishError::Down));
    node.recorder.until(|_| node.numbers(&subjects[0]).len() == 1000).await;
    assert_eq!(other.recorder.statuses(), ["up"]);
    // Again, and without a server.
    within(other.broker.shutdown(Instant::now() + FOREVER)).await;
}

/// A subject that is not wanted any more, and one that is wanted again.
pub(crate) async fn check_unsubscribe(port: u16, connect: Connect) {
    let [a, b, end]: [Subject; 3] = ["ws.a", "ws.b", "ws.end"].map(subject);
    let all = [a.clone(), b.clone(), end.clone()];
    let node = Node::up(connect(port, DriverConfig::new()), &all).await;
    node.broker.unsubscribe(&[a.clone(), subject("ws.unknown")]);
    node.broker.unsubscribe(slice::from_ref(&b));
    node.broker.subscribe(slice::from_ref(&b));
    node.broker.subscribe(&[subject("ws.new")]);
    node.settle(&[subject("ws.new")]).await;
    let before = node.recorder.count();
    for subject in [&a, &b, &end] {
        node.publish(subject, subject.as_str().to_owned()).await;
    }
    node.recorder.until(|it| it.texts().contains(&"ws.end".to_owned())).await;
    node.recorder.until(|it| it.texts().contains(&"ws.b".to_owned())).await;
    let texts = node.recorder.texts().split_off(before);
    assert!(!texts.contains(&"ws.a".to_owned()), "{texts:?}");
    assert_eq!(node.recorder.statuses(), ["up"]);
}

/// An envelope up to the bound arrives, and a longer one is refused.
pub(crate) async fn check_bounds(port: u16, connect: Connect, max_payload: usize) {
    let subjects = [subject("ws.a")];
    let node = Node::up(connect(port, DriverConfig::new()), &subjects).await;
    node.publish(&subjects[0], vec![b'x'; max_payload]).await;
    let refused = node.broker.publish(&subjects[0], vec![0; max_payload + 1].into());
    assert_eq!(refused, Err(PublishError::TooLarge));
    node.recorder.until(|it| it.messages().iter().any(|it| it.1.len() == max_payload)).await;

    let config = DriverConfig::new().max_envelopes(10);
    let node = Node::up(connect(port, config), &[]).await;
    // The task of the broker does not run meanwhile, on the only thread of the runtime.
    let accepted = (0..20).filter(|_| node.broker.publish(&subjects[0], "".into()).is_ok()).count();
    assert_eq!(accepted, 10);
    assert_eq!(node.broker.publish(&subjects[0], "".into()), Err(PublishError::Full));
}
