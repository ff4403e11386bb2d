//! How are handlers run, and how are their connections closed?
//!
//! A handler is a function of the application that takes a [`Conn`](crate::Conn). When it returns,
//! fails or panics, its connection is closed properly. All adapters use the same code:
//! [`AcceptOptions`](crate::AcceptOptions) defines what happens when a handler panics, and which
//! tracker counts the connection. [`ConnectionGuard`] runs the handler. `output` is what a handler
//! may return, `panic` catches panics, `limits` bounds the connections, and `tracker` implements
//! graceful shutdown.

mod accept;
mod limits;
mod output;
mod panic;
mod run;
mod tracker;

pub use limits::ConnectionLimits;
pub use output::HandlerOutput;
pub use panic::HandlerPanic;
pub use run::ConnectionGuard;
pub use tracker::{ConnectionTracker, DrainConfig, DrainCounts};
