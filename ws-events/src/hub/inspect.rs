//! What can an operator see of a hub?

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::{Hub, HubStats, Id, Socket, SocketStats};

/// What a hub consists of at one moment: see [`HubSnapshot::of`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HubSnapshot {
    /// The counters of the hub. They include the sockets and rooms that are not listed.
    pub stats: HubStats,
    /// Whether the hub is [draining](Hub::is_draining).
    pub draining: bool,
    /// Sockets, those with the most queued bytes first.
    pub sockets: Vec<SocketSnapshot>,
    /// Rooms, those with the most sockets first.
    pub rooms: Vec<RoomSnapshot>,
}

/// A socket of a [`HubSnapshot`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SocketSnapshot {
    /// Its id. The application may have it from the peer.
    pub id: Id,
    /// The address of the peer, if it is known.
    pub peer_addr: Option<SocketAddr>,
    /// The names of its rooms. The application may have them from the peer.
    pub rooms: Vec<Arc<str>>,
    /// Its send queue.
    pub queue: SocketStats,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes received, with headers, before decompression.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes that the transport has not taken. They have left the send queue.
    pub buffered: usize,
    /// The latest round-trip time of a [`Conn::ping`](ws_core::Conn::ping). Serialises as seconds.
    #[serde(serialize_with = "as_seconds")]
    pub rtt: Option<Duration>,
}

/// A room of a [`HubSnapshot`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RoomSnapshot {
    /// Its name. The application may have it from a peer.
    pub name: Arc<str>,
    /// The number of its sockets.
    pub sockets: usize,
}

/// Messages and bytes per second between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SocketRates {
    /// Messages received.
    pub messages_in: f64,
    /// Messages sent.
    pub messages_out: f64,
    /// Bytes received.
    pub bytes_in: f64,
    /// Bytes sent.
    pub bytes_out: f64,
}

impl SocketSnapshot {
    /// The rates since an earlier snapshot of the same socket, `elapsed` before this one. Zero, if no
    /// time has passed.
    pub fn rates_since(&self, earlier: &Self, elapsed: Duration) -> SocketRates {
        let rate = |now: u64, before: u64| {
            let seconds = elapsed.as_secs_f64();
            if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 }
        };
        SocketRates {
            messages_in: rate(self.messages_in, earlier.messages_in),
            messages_out: rate(self.messages_out, earlier.messages_out),
            bytes_in: rate(self.bytes_in, earlier.bytes_in),
            bytes_out: rate(self.bytes_out, earlier.bytes_out),
        }
    }
}

impl HubSnapshot {
    /// The state of a hub for an operator: its counters, and at most `most` sockets and `most`
    /// rooms.
    ///
    /// Takes time in proportion to the number of all sockets and rooms, and does not wait. Sockets
    /// that connect, disconnect or change rooms meanwhile may or may not be included.
    ///
    /// ```
    /// # let hub = ws_events::Hub::new();
    /// let snapshot = ws_events::HubSnapshot::of(&hub, 100);
    /// for socket in &snapshot.sockets {
    ///     println!("{} has {} messages in its queue", socket.id, socket.queue.messages);
    /// }
    /// ```
    #[doc(alias("admin", "debug"))]
    pub fn of(hub: &Hub, most: usize) -> Self {
        let sockets = hub.everyone().sockets();
        let sockets = sockets.into_iter().map(|socket| (socket.stats(), socket)).collect();
        let sockets = first(sockets, most, |(queue, _)| queue.bytes);
        let rooms = first(hub.0.rooms.sizes(), most, |(_, members)| *members);
        Self {
            stats: hub.stats(),
            draining: hub.is_draining(),
            sockets: sockets.into_iter().map(|(queue, socket)| snapshot(&socket, queue)).collect(),
            rooms: rooms
                .into_iter()
                .map(|(name, sockets)| RoomSnapshot { name, sockets })
                .collect(),
        }
    }
}

/// The items with the greatest keys, in descending order.
fn first<T>(mut items: Vec<T>, most: usize, key: impl Fn(&T) -> usize) -> Vec<T> {
    if items.len() > most {
        items.select_nth_unstable_by_key(most, |item| Reverse(key(item)));
        items.truncate(most);
    }
    items.sort_by_key(|item| Reverse(key(item)));
    items
}

fn snapshot(socket: &Socket, queue: SocketStats) -> SocketSnapshot {
    let stats = socket.conn().map(|conn| conn.stats()).unwrap_or_default();
    SocketSnapshot {
        id: socket.id(),
        peer_addr: socket.peer_addr(),
        rooms: socket.0.room_names(),
        queue,
        messages_in: stats.messages_in,
        messages_out: stats.messages_out,
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
        buffered: stats.buffered,
        rtt: stats.rtt,
    }
}

fn as_seconds<S: serde::Serializer>(rtt: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    rtt.map(|rtt| rtt.as_secs_f64()).serialize(to)
}
