//! Which compression parameters were negotiated?

/// The negotiated parameters of `permessage-deflate` ([RFC 7692 §7.1]).
///
/// [RFC 7692 §7.1]: https://www.rfc-editor.org/rfc/rfc7692#section-7.1
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// The server's messages do not refer to earlier ones.
    pub server_no_context_takeover: bool,
    /// The client's messages do not refer to earlier ones.
    pub client_no_context_takeover: bool,
    /// The server's window, as a power of two from 8 to 15.
    pub server_max_window_bits: u8,
    /// The client's window, as a power of two from 8 to 15.
    pub client_max_window_bits: u8,
}

impl Default for Params {
    /// The meaning of an answer without parameters.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}
