//! What may a handler return?

use std::fmt;

/// What a handler may return: nothing, or a `Result` with any error that implements
/// `Display`, such as [`Error`](crate::Error) or that of `anyhow`.
///
/// Without an error, the connection is closed with 1000, and with an error with 1011. The text
/// is logged, and is never sent to the peer.
pub trait HandlerOutput {
    /// The text of the error, for the log.
    fn into_error(self) -> Option<String>;
}

impl HandlerOutput for () {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> HandlerOutput for Result<(), E> {
    fn into_error(self) -> Option<String> {
        // Some errors show their causes only in the alternate form.
        self.err().map(|error| format!("{error:#}"))
    }
}
