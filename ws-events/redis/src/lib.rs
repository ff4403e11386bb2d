//! Redis and Valkey as the broker of `ws-events`: the hubs of several processes act as one.
//!
//! ```no_run
//! use ws_events_redis::{InvalidRedisUrl, RedisBroker, RedisConfig};
//!
//! # fn main() -> Result<(), InvalidRedisUrl> {
//! let broker = RedisBroker::new(RedisConfig::new("redis://127.0.0.1:6379"))?;
//! # Ok(()) }
//! ```
//!
//! [`RedisHistory`] keeps the histories of rooms for all processes, and [`RedisSessions`] lets a
//! client get its session back on any of them.
//!
//! # Connections
//!
//! A broker has two connections to each server: one publishes, the other subscribes. Both use
//! RESP3, which Redis has since version 6. A failure of one of them ends all: the broker is down,
//! connects again, and is up when Redis has confirmed all subscriptions. [`DriverConfig`] bounds
//! the pipeline and all waiting. [`RedisHistory`] and [`RedisSessions`] have a third one, for requests.
//!
//! A URL is the name of one server, or of the servers of one cluster. While a name moves, two
//! connections may reach two servers. The histories and the sessions ask each connection for its server,
//! and connect again if they differ. A broker does not ask, since ordinary pub/sub goes through all
//! servers of a cluster: what it publishes at a server that is no part of it any more is lost.
//!
//! With [`RedisConfig::sharded`], the servers are the masters of a Redis Cluster, and a subject
//! belongs to the master of its slot. So the load is divided among them. If a slot that is used
//! moves to another master, the broker connects again.
//!
//! # Guarantees
//!
//! * Envelopes on one subject arrive at all subscribers in the same order: Redis has a total order.
//! * Redis delivers at most once. If the output buffer of a subscriber exceeds
//!   `client-output-buffer-limit pubsub`, Redis closes its connection.
//! * Who may publish on the subjects of the hubs is trusted. Use a password or an ACL user, and TLS
//!   on a network that others use. An ACL user needs `+publish +subscribe +unsubscribe +ping
//!   +hello`, for a cluster `+spublish +ssubscribe +sunsubscribe +cluster|slots` too, and the
//!   channels: `&prefix.*`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `tls` | yes | URLs with `rediss`, and `RedisConfig::tls`, by rustls |
//! | `socketio` | no | `SocketIoAdapter`: servers of Socket.IO in Node.js in the same cluster |

#[cfg(feature = "socketio")]
mod adapter;
mod broker;
mod config;
mod connector;
mod history;
mod name;
mod reader;
mod session;
mod sessions;
mod stream;
mod topology;

#[cfg(feature = "socketio")]
pub use adapter::SocketIoAdapter;
pub use broker::RedisBroker;
pub use config::{InvalidRedisUrl, RedisConfig};
pub use history::RedisHistory;
pub use sessions::RedisSessions;
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
pub use ws_events_broker::DriverConfig;
