//! What do compressing and decompressing return?

/// zlib failed, which is not known to happen. The message is lost. The next one begins with an
/// empty window, which the peer can decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateError;

impl_error!(DeflateError {
    Self => "the compressor failed";
});

/// The progress of [`Inflater::inflate`](super::Inflater::inflate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Inflated {
    /// The number of input bytes consumed: all of them, unless `full`.
    pub consumed: usize,
    /// The output is full and there may be more. Call again with room, and with the rest of the
    /// input, even if it is empty.
    pub full: bool,
}

/// The compressed data is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl_error!(Corrupt {
    Self => "the compressed data is corrupt";
});
