//! How much memory do peers cost that stop reading a fast stream of broadcasts?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use support::{EventLog, TIMEOUT, wait_until};
use tokio::time::timeout;
use ws_core::{Config, Message, pair_with};
use ws_events::{DisconnectReason, Hub, SendQueueLimits, State};

const MEMBERS: usize = 1000;
const STALLED: usize = 10;
const MESSAGES: usize = 300;
const LENGTH: usize = 2048;
const LIMIT: usize = 256 * 1024;
/// The bytes that a connection holds besides the send queue: its buffer, and the transport in memory.
const HELD: usize = 2 * 64 * 1024;
/// What the other members may be behind by, and what tasks take that have yet to run.
const SLACK: usize = 4 * 1024 * 1024;

/// The bytes that are allocated. The memory of the process varies with what malloc keeps.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all calls are forwarded to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The message of one round, with its number.
fn message(n: usize) -> Message {
    Message::from(format!("{n:08}{}", "x".repeat(LENGTH - 8)))
}

/// Sends to all, of which some do not read. Returns the peak of memory.
async fn run(stalling: usize) -> usize {
    let hub = Hub::builder()
        .send_queue(SendQueueLimits::new().bytes(LIMIT))
        .state(EventLog::default())
        .build();
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(matches!(reason, DisconnectReason::SlowConsumer { .. }));
    });
    let server = Config::new().close_timeout(Duration::from_secs(1));
    let (mut stalled, mut readers) = (Vec::new(), Vec::new());
    let have_read = Arc::new(AtomicUsize::new(0));
    for n in 0..MEMBERS {
        let (client, server) = pair_with(Config::new(), server.clone());
        tokio::spawn(hub.handler()(server));
        if n < stalling {
            stalled.push(client);
        } else {
            let have_read = Arc::clone(&have_read);
            readers.push(tokio::spawn(async move {
                for n in 0..MESSAGES {
                    let read = timeout(TIMEOUT, client.read()).await.unwrap().unwrap();
                    assert_eq!(read.as_text().unwrap()[..8].parse(), Ok(n));
                    have_read.fetch_add(1, Relaxed);
                }
                client
            }));
        }
    }
    wait_until(|| hub.everyone().sockets().len() == MEMBERS).await;
    let mut most = 0;
    for n in 0..MESSAGES {
        hub.send(message(n));
        // No faster than the peers that read.
        wait_until(|| have_read.load(Relaxed) >= n * (MEMBERS - stalling)).await;
        most = most.max(LIVE.load(Relaxed));
    }
    let mut clients = Vec::new();
    for reader in readers {
        clients.push(timeout(TIMEOUT, reader).await.unwrap().unwrap());
    }
    let log = hub.state::<EventLog>().unwrap();
    assert_eq!(log.take(stalling).await, vec!["true"; stalling]);
    wait_until(|| hub.len() == MEMBERS - stalling).await;
    let stats = hub.stats();
    assert_eq!((stats.slow_consumers, stats.dropped), (stalling as u64, 0), "{stats:?}");
    assert_eq!(stats.refused, stalling as u64, "{stats:?}");
    wait_until(|| hub.stats().waiting() == 0).await;
    let stats = hub.stats();
    assert_eq!(stats.queued, stats.written + stats.discarded, "{stats:?}");
    drop((clients, stalled));
    wait_until(|| hub.is_empty()).await;
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_costs_its_limit_and_does_not_affect_others() {
    let (without, with) = (run(0).await, run(STALLED).await);
    let bound = without + STALLED * (LIMIT + HELD) + SLACK;
    println!("{without} bytes when all read, {with} when {STALLED} do not; {bound} are allowed");
    assert!(with <= bound, "{without} bytes when all read, {with} when {STALLED} do not");
}
