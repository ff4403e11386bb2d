//! What is the id of a session?

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The id of a session: 144 random bits, as text. In place, since each session has one.
pub(super) struct SessionId([u8; 24]);

impl SessionId {
    pub(super) fn random() -> Self {
        let mut text = [0; 24];
        // It fits: three bytes become four.
        let _ = URL_SAFE_NO_PAD.encode_slice(rand::random::<[u8; 18]>(), &mut text);
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        // Base64 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
