//! Connections of brokers for `ws-events`: one state machine for all servers.
//!
//! A [`BrokerDriver`] does the work of a [`Broker`](ws_events::broker::Broker). Its task has these
//! states:
//!
//! ```text
//!           ┌──────────── backoff ◀───────────┐
//!           ▼                                 │
//! start ─▶ connecting ─▶ subscribing ─▶ up ───┤ failure
//!           │                │                │
//!           └────────────────┴─── failure ────┘
//! ```
//!
//! - **Connecting.** [`Connector::connect`] makes a [`Session`], within
//!   [`connect_timeout`](DriverConfig::connect_timeout).
//! - **Subscribing.** All recorded subjects are subscribed in batches, and confirmed by the server.
//!   Then the status `Up` is reported.
//! - **Up.** Envelopes are sent in batches. A batch stays in the pipeline until the server has
//!   confirmed it. Only in this state, `publish` accepts envelopes.
//! - **Failure.** The session is dropped. Its envelopes that were not confirmed are counted in the
//!   status `Lost`, although the server may have got some of them.
//!
//! [`Session::Name`] is what a server subscribes to and publishes on: the subjects of a broker, or the
//! channels of another protocol, as for `ws_events_redis::SocketIoAdapter`.
//!
//! For authors of brokers. Applications use a broker, such as `ws-events-redis` or
//! `ws-events-nats`.

mod backoff;
mod config;
mod driver;
mod pipeline;
mod session;
mod subscriptions;

pub use config::DriverConfig;
pub use driver::BrokerDriver;
pub use session::{
    BoxFuture, Change, Connector, Inbox, PublishFailure, QueuedEnvelope, Session, SessionError,
};
