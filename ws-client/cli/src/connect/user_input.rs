//! What can a user type at the prompt, or pipe in?

use ws_client::{Message, StatusCode};

pub(super) enum UserInput {
    Message(Message),
    Ping,
    Close(StatusCode, String),
    Help,
    /// The input is invalid, for this reason.
    Invalid(String),
}
