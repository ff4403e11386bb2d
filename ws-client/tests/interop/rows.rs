//! Which messages and closing handshakes does every pair of implementations exchange?

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;
use ws_client::{Compression, ConnStats};

/// Payload lengths around each header length, and around the window sizes.
pub(crate) const SIZES: &[usize] = &[0, 1, 125, 126, 65_535, 65_536, 1024 * 1024];

/// The same, with one that is much longer than every buffer.
pub(crate) const UP_TO_16_MIB: &[usize] =
    &[0, 1, 125, 126, 65_535, 65_536, 1024 * 1024, 16 * 1024 * 1024];

/// The length of the longest message.
pub(crate) const LONGEST: usize = 16 * 1024 * 1024;

/// The compression settings of both sides, and the expected result.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) name: String,
    pub(crate) ours: Compression,
    /// The format of the scripts.
    pub(crate) theirs: Value,
    /// The response of the server.
    pub(crate) negotiated: Option<String>,
}

impl Terms {
    pub(crate) fn new(
        name: impl Into<String>,
        ours: Compression,
        theirs: Value,
        negotiated: Option<&str>,
    ) -> Self {
        Self { name: name.into(), ours, theirs, negotiated: negotiated.map(str::to_owned) }
    }

    /// Was this negotiated, in any order?
    pub(crate) fn check(&self, negotiated: Option<&str>) -> Result<()> {
        let sorted = |terms: Option<&str>| {
            let mut sorted: Vec<_> =
                terms.into_iter().flat_map(|terms| terms.split("; ")).map(str::to_owned).collect();
            sorted.sort();
            sorted
        };
        let expected = self.negotiated.as_deref();
        ensure!(
            sorted(negotiated) == sorted(expected),
            "negotiated on {negotiated:?}, and not on {expected:?}"
        );
        Ok(())
    }
}

/// What one client does.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) sizes: &'static [usize],
    pub(crate) fragments: &'static [usize],
    /// The closing handshakes that the client starts.
    pub(crate) closes: Vec<Close>,
    /// The closing handshakes that the server starts.
    pub(crate) closed: Vec<Close>,
}

/// A closing handshake, on a connection with its own path.
#[derive(Clone, Debug)]
pub(crate) struct Close {
    pub(crate) path: String,
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Rows {
    pub(crate) fn new(sizes: &'static [usize], codes: &[(u16, &str)]) -> Self {
        let close = |path: String, &(code, reason): &(u16, &str)| Close {
            path,
            code,
            reason: reason.to_owned(),
        };
        let asking = |&(code, reason): &(u16, &str)| {
            let reason: String = byte_serialize(reason.as_bytes()).collect();
            format!("/close?code={code}&reason={reason}")
        };
        Self {
            sizes,
            fragments: sizes,
            closes: (0..).zip(codes).map(|(i, row)| close(format!("/echo?row={i}"), row)).collect(),
            closed: codes.iter().map(|row| close(asking(row), row)).collect(),
        }
    }

    /// Messages that fill every window several times.
    pub(crate) fn for_windows() -> Self {
        Self { fragments: &[65_536], ..Self::new(&[1, 126, 65_536, 100_000], &[]) }
    }

    /// The format of the scripts.
    pub(crate) fn to_json(&self, address: &str, compression: &Value) -> Value {
        let closes = |rows: &[Close]| -> Vec<_> {
            rows.iter().map(|row| json!([row.path, row.code, row.reason])).collect()
        };
        json!({
            "url": format!("ws://{address}"),
            "compression": compression,
            "sizes": self.sizes,
            "fragments": self.fragments,
            "closes": closes(&self.closes),
            "closed": closes(&self.closed),
        })
    }

    /// Were the messages of `/echo` compressed exactly if that was negotiated?
    pub(crate) fn check_bytes(&self, stats: ConnStats, is_compressed: bool) -> Result<()> {
        let payload: u64 = self.sizes.iter().map(|&size| 2 * size as u64).sum();
        for bytes in [stats.bytes_in, stats.bytes_out] {
            ensure!(
                (bytes < payload) == is_compressed,
                "compressed: {is_compressed}, and {payload} bytes of payload were {bytes} bytes",
            );
        }
        Ok(())
    }
}

/// Close codes of every range, with reasons up to the longest, and none at all.
pub(crate) const CODES: &[(u16, &str)] = &[
    (1000, ""),
    (1000, "that is all"),
    (1001, "going home"),
    (1005, ""),
    (1008, "no & never"),
    (1011, ""),
    (3000, "registered"),
    // 123 bytes.
    (4999, "ååååååååååååååååååååååååååååååååååååååååååååååååååååååååååååå."),
];

/// The [`CODES`] that a page may close with.
pub(crate) const CODES_OF_A_PAGE: &[(u16, &str)] =
    &[(1000, ""), (1000, "that is all"), (1005, ""), (3000, "registered"), (4999, "å.")];
