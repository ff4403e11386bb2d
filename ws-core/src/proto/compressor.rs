//! Which messages go compressed?

use bytes::Bytes;

use super::Role;
use crate::config::CompressionMode;
use crate::deflate::{Deflater, Params};
use crate::{Config, Message, Prepared};

#[derive(Debug)]
pub(super) struct Compressor {
    pub(super) deflater: Deflater,
    threshold: usize,
    /// Must a message that was compressed also be sent so? Only without a window
    /// that the peer has to follow may one that did not shrink go as it is.
    pub(super) takeover: bool,
}

impl Compressor {
    pub(super) fn new(role: Role, config: &Config, params: Params) -> Self {
        let (bits, no_takeover) = match role {
            Role::Server => (params.server_max_window_bits, params.server_no_context_takeover),
            Role::Client => (params.client_max_window_bits, params.client_no_context_takeover),
        };
        // A window need not be kept because the peer would allow it.
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
        }
    }

    /// As [`compress`](Self::compress), with the result of whoever did it before in
    /// the same way.
    pub(super) fn compress_once(&mut self, prepared: &Prepared) -> Option<Bytes> {
        let message = prepared.message();
        if !message.may_compress() || message.len() < self.threshold {
            return None;
        }
        prepared.deflated(self.deflater.settings(), || self.compress(message))
    }

    /// The compressed payload, if the message is to go compressed.
    pub(super) fn compress(&mut self, message: &Message) -> Option<Bytes> {
        if !message.may_compress() || message.len() < self.threshold {
            return None;
        }
        let mut deflated = Vec::new();
        self.deflater.compress(message.as_bytes(), &mut deflated).ok()?;
        (self.takeover || deflated.len() < message.len()).then(|| Bytes::from(deflated))
    }
}
