//! Are any bytes on the subjects of a cluster envelopes, or counted and ignored?

use bytes::Bytes;
use tokio::time::{Duration, sleep, timeout};
use ws_core::pair;
use ws_events::Hub;
use ws_events::broker::{Broker as _, LoopbackBus, Subject};
use ws_events::cluster::{ClusterConfig, ClusterStats, Routing};

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// Runs the checks of this module on one input: envelopes, with 0x1E 0x1E between them. The first
/// byte of each selects the subject, and whether the bytes are a whole envelope, or what is behind
/// the kind in a head.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut envelopes = vec![Vec::new()];
    let mut rest = data;
    while let Some((byte, behind)) = rest.split_first() {
        if rest.starts_with(&[0x1E, 0x1E]) {
            envelopes.push(Vec::new());
            rest = behind.get(1..).unwrap_or_default();
        } else if let Some(last) = envelopes.last_mut() {
            last.push(*byte);
            rest = behind;
        }
    }
    crate::paused(check_hub(&envelopes));
}

/// The envelope of an input, and whether it is for all nodes.
fn envelope(number: u64, input: &[u8]) -> (bool, Bytes) {
    let Some((mode, rest)) = input.split_first() else { return (true, Bytes::new()) };
    let for_all = mode & 1 == 0;
    let Some((kind, fields)) = rest.split_first().filter(|_| mode & 2 == 2) else {
        return (for_all, Bytes::copy_from_slice(rest));
    };
    let mut bytes = vec![b'W', b'S', 1, 0, *kind, 0, 0, 0];
    // Of one of two nodes. Some are duplicates, some show a gap.
    let number = number + u64::from(mode >> 4);
    for value in [u64::from(mode & 4), 1, 1, number] {
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    bytes.extend_from_slice(fields);
    (for_all, bytes.into())
}

async fn check_hub(inputs: &[Vec<u8>]) {
    let bus = LoopbackBus::new(1);
    let config = ClusterConfig::new(bus.join()).routing(Routing::Partitioned(1));
    let hub = Hub::builder().envelope().build_clustered(config).expect("valid settings");
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    while hub.is_empty() {
        tokio::task::yield_now().await;
    }
    hub.everyone().local().join("room");
    sleep(Duration::from_millis(1)).await;
    let publisher = bus.join();
    let subject = |name| Subject::new(name).expect("a valid subject");
    let (all, room) = (subject("ws.all"), subject("ws.p1.0"));
    for (number, input) in (1..).zip(inputs) {
        let (for_all, envelope) = envelope(number, input);
        let subject = if for_all { &all } else { &room };
        publisher.publish(subject, envelope).expect("the bus takes it");
        sleep(Duration::from_millis(1)).await;
    }
    let stats = ClusterStats::of(&hub).expect("a cluster");
    let counted = stats.received + stats.duplicates + stats.malformed + stats.unknown_version;
    assert_eq!(counted, inputs.len() as u64);
    // An envelope may have closed the socket, or made it leave the room.
    hub.everyone().local().send("end");
    let reading = async {
        while let Ok(message) = client.read().await {
            if message.as_text() == Some("end") {
                break;
            }
        }
    };
    timeout(FOREVER, reading).await.expect("it hangs");
}
