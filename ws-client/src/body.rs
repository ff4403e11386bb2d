//! Where does the body of a refusal end, on a bare stream?

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use httparse::Status;

/// How much of the body of a refusal is kept.
pub(crate) const KEPT: usize = 1024;

/// What says where a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

impl Framing {
    pub(crate) fn of(response: &Response<()>) -> Self {
        let headers = response.headers();
        let length = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Self::Length(0),
            _ if headers.contains_key(TRANSFER_ENCODING) => Self::Chunked,
            _ => length().map_or(Self::UntilClosed, Self::Length),
        }
    }

    /// What is kept of a body of which `raw` has arrived, and whether that is all.
    pub(crate) fn decode(self, raw: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Self::Length(length) => take(raw, length.min(KEPT)),
            Self::UntilClosed => take(raw, KEPT),
            Self::Chunked => unchunk(raw),
        }
    }
}

fn take(raw: &[u8], wanted: usize) -> (Vec<u8>, bool) {
    raw.get(..wanted).map_or_else(|| (raw.to_vec(), false), |whole| (whole.to_vec(), true))
}

/// Takes chunks apart (RFC 9112 §7.1). What is malformed ends the body.
fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(raw) {
            Ok(Status::Complete((_, 0))) | Err(_) => return (body, true),
            Ok(Status::Complete(chunk)) => chunk,
            Ok(Status::Partial) => return (body, false),
        };
        let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(KEPT - body.len());
        let (chunk, whole) = take(raw.get(start..).unwrap_or_default(), wanted);
        body.extend(chunk);
        if !whole || body.len() == KEPT {
            return (body, whole);
        }
        // Behind a chunk is the end of a line.
        raw = raw.get(start + wanted + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_where_a_body_ends() {
        let check = |status: u16, headers: &[(&str, &str)], expected| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            assert_eq!(Framing::of(&response.body(()).unwrap()), expected, "{headers:?}");
        };
        check(403, &[("content-length", "5")], Framing::Length(5));
        check(403, &[("content-length", "5"), ("transfer-encoding", "chunked")], Framing::Chunked);
        check(403, &[("content-length", "five")], Framing::UntilClosed);
        check(403, &[], Framing::UntilClosed);
        check(204, &[], Framing::Length(0));
        check(304, &[("content-length", "5")], Framing::Length(0));
    }

    #[test]
    fn bodies_are_read_at_every_cut_and_kept_up_to_a_limit() {
        let check = |framing: Framing, raw: &[u8], expected: &[u8], end: usize| {
            assert_eq!(framing.decode(raw), (expected.to_vec(), true));
            for cut in 0..end {
                let (body, done) = framing.decode(&raw[..cut]);
                assert!(expected.starts_with(&body) && !done, "{cut}");
            }
        };
        check(Framing::Length(5), b"hello, world", b"hello", 5);
        check(Framing::Length(0), b"", b"", 0);
        check(Framing::Chunked, b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello", 20);
        check(Framing::Chunked, b"3\r\nhel\r\nnonsense", b"hel", 8);
        let long = [b'a'; 2 * KEPT];
        check(Framing::Length(2 * KEPT), &long, &long[..KEPT], KEPT);
        check(Framing::UntilClosed, &long, &long[..KEPT], KEPT);
        let chunks = b"ff\r\n".iter().chain(&long[..255]).chain(b"\r\n").copied();
        let chunks: Vec<_> = chunks.cycle().take(261 * 5).collect();
        check(Framing::Chunked, &chunks, &long[..KEPT], 261 * 4 + 4 + 4);
    }
}
