//! What does each envelope begin with?
//!
//! A head of 40 bytes, and [fields](super::fields) behind it. It has the version: an envelope of
//! another major version is dropped and counted, and minor versions may differ.
//!
//! ```text
//! magic "WS" | major u8 | minor u8 | kind u8 | flags u8 | reserved u16 |
//! origin u64 | incarnation u64 | first u64 | number u64 | fields
//! ```

use bytes::{Bytes, BytesMut};

use super::fields::split_number;
use super::node::NodeId;
use super::sequence::SequenceNumber;

const MAGIC: [u8; 2] = *b"WS";
/// An incompatible change increments it.
const MAJOR: u8 = 1;
const MINOR: u8 = 0;
/// The length of a head.
const HEAD: usize = 40;
/// Where the sequence number is in a head.
const NUMBER: usize = 24;

/// The start of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) origin: NodeId,
    /// When the origin was started: greater for each start.
    pub(crate) incarnation: u64,
    /// `None`: it is not numbered.
    pub(crate) number: Option<SequenceNumber>,
}

/// Why an envelope is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    UnknownVersion,
    Malformed,
}

impl Head {
    pub(super) fn encode(self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let SequenceNumber { first, this } =
            self.number.unwrap_or(SequenceNumber { first: 0, this: 0 });
        let numbers = [self.origin.0, self.incarnation, first, this];
        let start = [MAGIC[0], MAGIC[1], MAJOR, MINOR, self.kind, 0, 0, 0];
        let bytes = start.into_iter().chain(numbers.into_iter().flat_map(u64::to_be_bytes));
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        head
    }

    /// Reads the head, and returns what is behind it.
    pub(crate) fn decode(envelope: &Bytes) -> Result<(Self, Bytes), HeadError> {
        let (start, rest) = envelope.split_first_chunk::<8>().ok_or(HeadError::Malformed)?;
        let [one, two, major, _, kind, ..] = *start;
        if [one, two] != MAGIC {
            return Err(HeadError::Malformed);
        }
        if major != MAJOR {
            return Err(HeadError::UnknownVersion);
        }
        let malformed = |_| HeadError::Malformed;
        let (origin, rest) = split_number(rest).map_err(malformed)?;
        let (incarnation, rest) = split_number(rest).map_err(malformed)?;
        let (first, rest) = split_number(rest).map_err(malformed)?;
        let (this, rest) = split_number(rest).map_err(malformed)?;
        let number = (this > 0).then_some(SequenceNumber { first, this });
        let head = Self { kind, origin: NodeId(origin), incarnation, number };
        Ok((head, envelope.slice_ref(rest)))
    }
}

/// Writes the sequence number into an envelope.
pub(crate) fn set_number(envelope: &mut BytesMut, number: SequenceNumber) {
    let bytes = [number.first.to_be_bytes(), number.this.to_be_bytes()].concat();
    if let Some(place) = envelope.get_mut(NUMBER..HEAD) {
        place.copy_from_slice(&bytes);
    }
}
