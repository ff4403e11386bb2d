//! What do the measured programs have in common, so that they differ in the library only?

mod client;
mod hub;
mod opening;
mod options;
mod serve;

pub use client::{Task, run_client};
pub use hub::{Hub, Subscription};
pub use opening::{OpeningError, answer, extensions, open, open_with};
pub use options::{BURST, Deflate, Mode, Options};
pub use serve::{MESSAGE_LIMIT, listener, runtime, say_where, serve, welcome};
