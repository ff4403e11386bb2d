//! Which messages are compressed, and at which level?

use bytes::Bytes;

use super::Role;
use crate::config::CompressionMode;
use crate::deflate::{Deflater, Params};
use crate::message::CompressionOverride;
use crate::{Config, Message, PreparedMessage};

#[derive(Debug)]
pub(super) struct Compressor {
    pub(super) deflater: Deflater,
    threshold: usize,
    /// Context takeover is in effect. A compressed message must then be sent compressed even if
    /// it did not shrink, because the peer's window has to follow.
    pub(super) takeover: bool,
    /// The default level, while a message sent in pieces overrides it.
    default_level: Option<u8>,
    /// The number of message bytes compressed, before and after.
    pub(super) before: u64,
    pub(super) after: u64,
}

impl Compressor {
    pub(super) fn new(role: Role, config: &Config, params: Params) -> Self {
        let (bits, no_takeover) = match role {
            Role::Server => (params.server_max_window_bits, params.server_no_context_takeover),
            Role::Client => (params.client_max_window_bits, params.client_no_context_takeover),
        };
        // The peer allows context takeover, but the configuration may not want it.
        let wanted = config.compression.mode == CompressionMode::ContextTakeover;
        let takeover = wanted && !no_takeover;
        Self {
            deflater: Deflater::new(
                bits.min(config.compression.window_bits),
                takeover,
                config.compression.level,
            ),
            threshold: config.compression.threshold,
            takeover,
            default_level: None,
            before: 0,
            after: 0,
        }
    }

    /// As [`compress`](Self::compress). The result is shared by all connections with the same
    /// settings.
    pub(super) fn compress_once(&mut self, prepared: &PreparedMessage) -> Option<Bytes> {
        let message = prepared.message();
        let level = self.level(message)?;
        let deflater = &mut self.deflater;
        let payload =
            prepared.deflated(deflater.settings(level), || smaller(deflater, message, level));
        self.count(message, payload)
    }

    /// Compresses a message. `None` if it is to be sent uncompressed.
    pub(super) fn compress(&mut self, message: &Message) -> Option<Bytes> {
        let level = self.level(message)?;
        let payload = if self.takeover {
            deflated(&mut self.deflater, message, level)
        } else {
            smaller(&mut self.deflater, message, level)
        };
        self.count(message, payload)
    }

    /// The level to compress a message at. `None` if it is not to be compressed.
    fn level(&self, message: &Message) -> Option<u8> {
        if message.len() < self.threshold {
            return None;
        }
        match message.compression_override() {
            CompressionOverride::Default => Some(self.deflater.level()),
            CompressionOverride::Off => None,
            CompressionOverride::Level(level) => Some(level),
        }
    }

    /// Sets the level of the message that begins and is sent in pieces.
    pub(super) fn begin_at(&mut self, level: u8) {
        self.default_level.get_or_insert_with(|| self.deflater.level());
        self.deflater.set_level(level.min(9));
    }

    /// Ends a message that was sent in pieces.
    pub(super) fn end(&mut self) {
        if let Some(level) = self.default_level.take() {
            self.deflater.set_level(level);
        }
    }

    fn count(&mut self, message: &Message, payload: Option<Bytes>) -> Option<Bytes> {
        if let Some(payload) = &payload {
            self.before += message.len() as u64;
            self.after += payload.len() as u64;
        }
        payload
    }
}

fn deflated(deflater: &mut Deflater, message: &Message, level: u8) -> Option<Bytes> {
    let mut deflated = Vec::new();
    deflater.compress_at(level, message.as_bytes(), &mut deflated).ok()?;
    Some(deflated.into())
}

fn smaller(deflater: &mut Deflater, message: &Message, level: u8) -> Option<Bytes> {
    deflated(deflater, message, level).filter(|deflated| deflated.len() < message.len())
}
