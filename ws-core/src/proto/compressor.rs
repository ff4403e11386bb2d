//! Which messages go compressed?

use bytes::Bytes;

use super::Role;
use crate::config::CompressionMode;
use crate::deflate::{Deflater, Params};
use crate::message::Squeeze;
use crate::{Config, Message, PreparedMessage};

#[derive(Debug)]
pub(super) struct Compressor {
    pub(super) deflater: Deflater,
    threshold: usize,
    /// Must a message that was compressed also be sent so? Only without a window
    /// that the peer has to follow may one that did not shrink go as it is.
    pub(super) takeover: bool,
    /// The usual level, while a message that comes piece by piece has its own.
    usual: Option<u8>,
    /// How many bytes went compressed, before and after.
    pub(super) before: u64,
    pub(super) after: u64,
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
            usual: None,
            before: 0,
            after: 0,
        }
    }

    /// As [`compress`](Self::compress), with the result of whoever did it before in
    /// the same way.
    pub(super) fn compress_once(&mut self, prepared: &PreparedMessage) -> Option<Bytes> {
        let message = prepared.message();
        let level = self.level(message)?;
        let deflater = &mut self.deflater;
        let payload =
            prepared.deflated(deflater.settings(level), || smaller(deflater, message, level));
        self.count(message, payload)
    }

    /// The compressed payload, if the message is to go compressed.
    pub(super) fn compress(&mut self, message: &Message) -> Option<Bytes> {
        let level = self.level(message)?;
        let payload = if self.takeover {
            deflated(&mut self.deflater, message, level)
        } else {
            smaller(&mut self.deflater, message, level)
        };
        self.count(message, payload)
    }

    /// The level to compress a message at, if it is to be tried; `None` in it for the
    /// usual one.
    fn level(&self, message: &Message) -> Option<Option<u8>> {
        if message.len() < self.threshold {
            return None;
        }
        match message.squeeze() {
            Squeeze::Usual => Some(None),
            Squeeze::Not => None,
            Squeeze::At(level) => Some(Some(level)),
        }
    }

    /// Compresses the message that begins, and comes piece by piece, at this level.
    pub(super) fn begin_at(&mut self, level: u8) {
        self.usual.get_or_insert_with(|| self.deflater.level());
        self.deflater.set_level(level.min(9));
    }

    /// That message has ended.
    pub(super) fn end(&mut self) {
        if let Some(usual) = self.usual.take() {
            self.deflater.set_level(usual);
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

fn deflated(deflater: &mut Deflater, message: &Message, level: Option<u8>) -> Option<Bytes> {
    let mut deflated = Vec::new();
    deflater.compress_at(level, message.as_bytes(), &mut deflated).ok()?;
    Some(deflated.into())
}

fn smaller(deflater: &mut Deflater, message: &Message, level: Option<u8>) -> Option<Bytes> {
    deflated(deflater, message, level).filter(|deflated| deflated.len() < message.len())
}
