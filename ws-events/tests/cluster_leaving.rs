//! Where do the envelopes go that a node holds when it leaves its cluster?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use ws_events::broker::{
    Broker, BrokerCapabilities, BrokerSink, BrokerStatus, LoopbackBroker, LoopbackBus,
    PublishError, Subject,
};
use ws_events::cluster::{ClusterConfig, HubEvent, HubEvents, OutagePolicy};
use ws_events::{ClusterDelivery, Hub};

use crate::cluster::{LONG, SOON, connect, pass};

/// A member of a bus whose pipeline may be full, and that may lose envelopes at its end.
struct FaultyBroker {
    inner: LoopbackBroker,
    is_full: Arc<AtomicBool>,
    lost_at_end: u64,
    sink: Mutex<Option<Arc<dyn BrokerSink>>>,
}

impl Broker for FaultyBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        self.inner.capabilities()
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        *self.sink.lock() = Some(Arc::clone(&sink));
        self.inner.start(sink);
    }

    fn subscribe(&self, subjects: &[Subject]) {
        self.inner.subscribe(subjects);
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.inner.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        if self.is_full.load(SeqCst) {
            return Err(PublishError::Full);
        }
        self.inner.publish(subject, envelope)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        if let (Some(sink), 1..) = (&*self.sink.lock(), self.lost_at_end) {
            sink.status(BrokerStatus::Lost { envelopes: self.lost_at_end });
        }
        self.inner.shutdown(deadline)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Outage {
    None,
    Full(Duration),
    Down(Duration),
}

/// A node that leaves.
struct Leaving {
    outage: Outage,
    /// Another node does not come back, so the held envelopes wait for longer.
    misses_a_node: bool,
    lost_at_end: u64,
    /// Of the drain; `None` if the hub is dropped.
    limit: Option<Duration>,
}

const LEAVING: Leaving = Leaving {
    outage: Outage::None,
    misses_a_node: false,
    lost_at_end: 0,
    limit: Some(Duration::from_secs(10)),
};

async fn take(events: &mut HubEvents) -> Vec<HubEvent> {
    let mut taken = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(SOON, events.next()).await {
        taken.push(event);
    }
    taken
}

/// What the other node gets of two broadcasts, what the sender reports as unsent, and what the other
/// node reports as lost.
async fn check(leaving: Leaving, got: &[&str], unsent: &[u64], gaps: &[u64]) {
    let bus = LoopbackBus::new(1);
    let (inner, is_full) = (bus.join(), Arc::<AtomicBool>::default());
    let broker = FaultyBroker {
        inner: inner.clone(),
        is_full: Arc::clone(&is_full),
        lost_at_end: leaving.lost_at_end,
        sink: Mutex::default(),
    };
    let config = ClusterConfig::new(broker).outage(OutagePolicy::buffer(1 << 20, LONG + LONG));
    let one = Hub::builder().build_clustered(config).unwrap();
    let two = Hub::builder().build_clustered(ClusterConfig::new(bus.join())).unwrap();
    let third = bus.join();
    let _three = Hub::builder().build_clustered(ClusterConfig::new(third.clone())).unwrap();
    let (socket, received) = connect(&two, "id").await;
    socket.join("room").unwrap();
    let (mut own, mut others) = (one.events(), two.events());
    pass(LONG).await;
    take(&mut others).await;

    if leaving.misses_a_node {
        third.set_group(1);
    }
    let lasts = match leaving.outage {
        Outage::None => Duration::ZERO,
        Outage::Full(lasts) => {
            is_full.store(true, SeqCst);
            lasts
        }
        Outage::Down(lasts) => {
            inner.set_up(false);
            lasts
        }
    };
    let expected = match leaving.outage {
        Outage::None => ClusterDelivery::Published,
        Outage::Full(_) | Outage::Down(_) => ClusterDelivery::Held,
    };
    for text in ["a", "b"] {
        assert_eq!(one.to("room").send(text).cluster, expected);
    }
    tokio::spawn(async move {
        pass(lasts).await;
        is_full.store(false, SeqCst);
        inner.set_up(true);
    });
    pass(SOON).await;
    if let Some(limit) = leaving.limit {
        one.drain(limit).await;
        assert_eq!(one.to("room").send("late").cluster, ClusterDelivery::Down);
    } else {
        drop(one);
        // Longer than its cluster then takes.
        pass(Duration::from_secs(2)).await;
    }
    let own = take(&mut own).await.into_iter().filter_map(|event| match event {
        HubEvent::Unsent { envelopes } => Some(envelopes),
        _ => None,
    });
    assert_eq!(own.collect::<Vec<_>>(), unsent);
    // Nobody relies on the goodbye of a node that has dropped envelopes.
    let mut events = take(&mut others).await;
    let is_down = |event: &HubEvent| matches!(event, HubEvent::NodeDown { .. });
    assert_eq!(events.iter().any(is_down), !got.is_empty(), "{events:?}");
    pass(LONG).await;
    assert_eq!(*received.lock(), got);
    events.extend(take(&mut others).await);
    assert!(events.iter().any(is_down), "{events:?}");
    let found = events.into_iter().filter_map(|event| match event {
        HubEvent::Gap { lost, .. } => Some(lost),
        _ => None,
    });
    assert_eq!(found.collect::<Vec<_>>(), gaps);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_holds_is_published_before_it_leaves() {
    // Before it leaves, and meanwhile.
    for lasts in [SOON / 2, Duration::from_secs(3)] {
        for outage in [Outage::Down(lasts), Outage::Full(lasts)] {
            check(Leaving { outage, ..LEAVING }, &["a", "b"], &[], &[]).await;
        }
    }
    let outage = Outage::Down(SOON / 2);
    check(Leaving { outage, limit: None, ..LEAVING }, &["a", "b"], &[], &[]).await;
    check(Leaving { outage, misses_a_node: true, ..LEAVING }, &["a", "b"], &[], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_cannot_publish_before_it_leaves_is_reported() {
    let limit = Some(Duration::from_secs(1));
    for outage in [Outage::Down(LONG), Outage::Full(LONG)] {
        for limit in [limit, None] {
            check(Leaving { outage, limit, ..LEAVING }, &[], &[2], &[]).await;
        }
    }
    // The others learn how many there are.
    let outage = Outage::Down(SOON / 2);
    check(Leaving { outage, limit, misses_a_node: true, ..LEAVING }, &[], &[2], &[2]).await;
    check(Leaving { lost_at_end: 3, ..LEAVING }, &["a", "b"], &[3], &[]).await;
}
