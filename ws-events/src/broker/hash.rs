//! Which number stands for a name, in all processes and versions?

/// A hash of bytes that is the same in all processes, on all machines and in all versions: FNV-1a of
/// 64 bits, folded. It divides rooms among subjects, channels or servers. An attacker can find names
/// of the same hash, so it is not for a table of names.
///
/// ```
/// use ws_events::broker::stable_hash;
///
/// let channel = |room: &str| stable_hash(room.bytes()) % 64;
/// assert_eq!([channel("lobby"), channel("news")], [5, 28]);
/// ```
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let hash = bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    // The low bits of FNV-1a are its worst.
    hash ^ (hash >> 32)
}
