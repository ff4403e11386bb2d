//! Handlers: from the connection that they are given to its end.
//!
//! A handler is a function of the application that is given a [`Conn`](crate::Conn).
//! However it ends, the connection is closed properly, and every adapter does it by the
//! same means: [`AcceptOptions`](crate::AcceptOptions) say what happens when a handler
//! panics and who counts it, [`ConnectionGuard`] runs it. `outcome` is what a handler may
//! return, `panic` how one is caught, `tracker` who waits for them when the server stops.

mod outcome;
mod panic;
mod run;
mod tracker;

pub use outcome::HandlerOutput;
pub use panic::HandlerPanic;
pub use run::ConnectionGuard;
pub(crate) use run::Handling;
pub use tracker::{ConnectionTracker, DrainConfig, DrainCounts};
