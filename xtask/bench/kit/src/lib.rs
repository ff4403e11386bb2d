//! What do the measured programs share, so that they differ in the library only?

mod client;
mod hub;
mod opening;
mod options;
mod serve;
#[cfg(feature = "tls")]
mod tls;

pub use client::{Task, run_client, run_dialling_client};
pub use hub::{Hub, Subscription};
pub use load::scenario::Deflate;
pub use opening::{answer, open, open_with};
pub use options::{BURST, Mode, Options};
pub use serve::{MESSAGE_LIMIT, listener, print_address, runtime, serve, welcome};
#[cfg(feature = "tls")]
pub use tls::serve_tls;
