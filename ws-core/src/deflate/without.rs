//! What replaces compression without the feature `deflate`?
//!
//! Without the feature, the handshake does not negotiate compression, so this code is not called.
//! If an application claims that compression was negotiated, messages are sent uncompressed, and a
//! compressed message of the peer is an error.

use super::{Corrupt, DeflateError, Inflated};

/// Compresses nothing: the feature `deflate` is not enabled.
#[derive(Debug)]
pub struct Deflater;

impl Deflater {
    /// A compressor that fails.
    pub const fn new(_window_bits: u8, _context_takeover: bool, _level: u8) -> Self {
        Self
    }

    /// The level, and no window bits: there is no compression.
    pub const fn settings(&self, level: u8) -> (u8, u8) {
        (level, 0)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn compress(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), DeflateError> {
        Err(DeflateError)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn compress_at(
        &mut self,
        _: u8,
        _: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<(), DeflateError> {
        Err(DeflateError)
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "as with the feature")]
    pub(crate) const fn set_level(&mut self, _: u8) {}

    pub(crate) const fn level(&self) -> u8 {
        0
    }

    /// # Errors
    ///
    /// Always.
    pub const fn push(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), DeflateError> {
        Err(DeflateError)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn flush(&mut self, _: &mut Vec<u8>) -> Result<(), DeflateError> {
        Err(DeflateError)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), DeflateError> {
        Err(DeflateError)
    }
}

/// Decompresses nothing: the feature `deflate` is not enabled.
#[derive(Debug)]
pub struct Inflater;

impl Inflater {
    /// A decompressor that fails.
    pub const fn new(_window_bits: u8, _context_takeover: bool) -> Self {
        Self
    }

    /// Zeros.
    pub const fn totals(&self) -> (u64, u64) {
        (0, 0)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn inflate(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _max: usize,
    ) -> Result<Inflated, Corrupt> {
        Err(Corrupt)
    }

    /// # Errors
    ///
    /// Always.
    pub const fn finish(&mut self, _: &mut Vec<u8>, _max: usize) -> Result<bool, Corrupt> {
        Err(Corrupt)
    }
}
