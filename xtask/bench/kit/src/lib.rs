//! What do the measured servers have in common, so that they differ in the library only?

mod hub;
mod opening;
mod options;
mod serve;

pub use hub::{Hub, Subscription};
pub use opening::{OpeningError, answer, open};
pub use options::{BURST, Deflate, Mode, Options};
pub use serve::{MESSAGE_LIMIT, listener, runtime, say_where, serve, welcome};
