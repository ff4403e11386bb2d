//! NATS as the broker of `ws-events`: the hubs of several processes act as one.
//!
//! ```no_run
//! use ws_events_nats::{InvalidNatsUrl, NatsBroker, NatsConfig};
//!
//! # fn main() -> Result<(), InvalidNatsUrl> {
//! let broker = NatsBroker::new(NatsConfig::new("nats://127.0.0.1:4222"))?;
//! # Ok(()) }
//! ```
//!
//! # Connection
//!
//! A broker has one connection. It does not use the reconnects of `async-nats`, because a publish
//! during an outage succeeds there although the message may be lost. Instead, a failure ends the
//! connection: the broker is down and refuses envelopes, connects again, and is up when a round
//! trip has confirmed all subscriptions. A round trip is a message to a subject of this connection:
//! the server handles requests in their order. [`DriverConfig`] bounds the pipeline and all
//! waiting.
//!
//! # Guarantees
//!
//! * Envelopes of one publisher on one subject arrive in their order. Those of several publishers
//!   may arrive in different orders at different processes: the broker has no total order.
//! * NATS delivers at most once. If this process or the network is too slow, the server closes the
//!   connection. If this process is busy, 8,192 messages of a subscription wait for it; more are
//!   dropped, and the hub reports a gap.
//! * An envelope that is longer than `max_payload` of the server is refused.
//! * In a cluster, the other servers learn of a subscription a little later than the server of the
//!   connection. What they have then not forwarded is a gap, which the hub detects.
//! * Before a server stops, it announces that (lame duck mode). A broker with several URLs then
//!   connects to another server.
//! * Who may publish on the subjects of the hubs is trusted. Use accounts or permissions, and TLS
//!   on a network that others use. The user needs to publish and subscribe on `prefix.>`, and on
//!   `_INBOX.>` or the prefix of
//!   [`ConnectOptions::custom_inbox_prefix`](async_nats::ConnectOptions::custom_inbox_prefix).
//!
//! # TLS
//!
//! `async-nats` uses the `CryptoProvider` of rustls that is installed for the process. If there is
//! none, a broker installs that of aws-lc.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `nkeys` | yes | authentication by NKeys, JWTs and credentials files |

mod broker;
mod config;
mod connector;
mod session;

pub use async_nats;
pub use broker::NatsBroker;
pub use config::{InvalidNatsUrl, NatsConfig};
pub use ws_events_broker::DriverConfig;
