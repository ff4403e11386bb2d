//! How is an HTTP/1.1 request sent over a byte stream, and its response read?

use std::io;

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use httparse::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use ws_core::handshake::HandshakeError;
use ws_core::handshake::head::{MAX_HEAD, MAX_INTERIM, decode_response};

use super::body::{MAX_BODY, read_in_time};
use super::deadline::HandshakeDeadline;
use crate::DialError;

/// The start of a TLS alert, the answer of most TLS servers to HTTP (RFC 8446 §5.1).
const TLS_ALERT: [u8; 2] = [21, 3];

/// Sends the head of a request and reads the head of the final response. Returns it with the
/// bytes that arrived after it.
pub(crate) async fn exchange(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> Result<(Response<()>, BytesMut), DialError> {
    io.write_all(request).await?;
    io.flush().await?;
    let mut input = BytesMut::with_capacity(1024);
    let mut interim = 0;
    loop {
        if input.starts_with(&TLS_ALERT) {
            return Err(HandshakeError::TlsAlert.into());
        }
        match decode_response(&input).map_err(HandshakeError::from)? {
            Some((response, length)) => {
                let rest = input.split_off(length);
                if is_final(response.status()) {
                    return Ok((response, rest));
                }
                interim += 1;
                if interim > MAX_INTERIM {
                    return Err(HandshakeError::TooManyInterim.into());
                }
                input = rest;
            }
            None if io.read_buf(&mut input).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            None => {}
        }
    }
}

/// A server may send interim responses before the final one (RFC 9110 §15.2).
fn is_final(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational()
}

/// Reads the first [`MAX_BODY`] bytes of the body. `input` is what arrived after the head.
pub(crate) async fn read_body(
    mut io: impl AsyncRead + Unpin,
    response: &Response<()>,
    mut input: BytesMut,
    deadline: HandshakeDeadline,
) -> BytesMut {
    let framing = BodyFraming::of(response);
    // Chunk headers may be longer than the chunks, so the input has a limit of its own.
    let is_complete = |input: &[u8]| framing.decode(input).1 || input.len() >= MAX_HEAD;
    let read = async {
        input.reserve(MAX_BODY);
        while !is_complete(&input) && io.read_buf(&mut input).await.is_ok_and(|read| read > 0) {}
    };
    read_in_time(deadline, read).await;
    BytesMut::from(&*framing.decode(&input).0)
}

/// What determines the end of a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFraming {
    Length(usize),
    Chunked,
    UntilClosed,
}

impl BodyFraming {
    fn of(response: &Response<()>) -> Self {
        let headers = response.headers();
        let length = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Self::Length(0),
            _ if headers.contains_key(TRANSFER_ENCODING) => Self::Chunked,
            _ => length().map_or(Self::UntilClosed, Self::Length),
        }
    }

    /// Decodes the `raw` bytes received so far, up to [`MAX_BODY`] bytes, and returns whether
    /// that is all that is kept.
    fn decode(self, raw: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Self::Length(length) => take(raw, length.min(MAX_BODY)),
            Self::UntilClosed => take(raw, MAX_BODY),
            Self::Chunked => decode_chunks(raw),
        }
    }
}

/// The first `length` bytes, and whether there are so many.
fn take(raw: &[u8], length: usize) -> (Vec<u8>, bool) {
    raw.get(..length).map_or_else(|| (raw.to_vec(), false), |whole| (whole.to_vec(), true))
}

/// Decodes the chunked transfer coding (RFC 9112 §7.1). A malformed chunk ends the body.
fn decode_chunks(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(raw) {
            Ok(Status::Complete((_, 0))) | Err(_) => return (body, true),
            Ok(Status::Complete(chunk)) => chunk,
            Ok(Status::Partial) => return (body, false),
        };
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_BODY - body.len());
        let (chunk, is_whole) = take(raw.get(start..).unwrap_or_default(), length);
        body.extend(chunk);
        if !is_whole || body.len() == MAX_BODY {
            return (body, is_whole);
        }
        // Skips the CRLF after the chunk.
        raw = raw.get(start + length + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_determine_the_end_of_a_body() {
        let check = |status: u16, headers: &[(&str, &str)], expected| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            assert_eq!(BodyFraming::of(&response.body(()).unwrap()), expected, "{headers:?}");
        };
        check(403, &[("content-length", "5")], BodyFraming::Length(5));
        check(
            403,
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            BodyFraming::Chunked,
        );
        check(403, &[("content-length", "five")], BodyFraming::UntilClosed);
        check(403, &[], BodyFraming::UntilClosed);
        check(204, &[], BodyFraming::Length(0));
        check(304, &[("content-length", "5")], BodyFraming::Length(0));
    }

    #[test]
    fn bodies_decode_at_every_cut_up_to_the_limit() {
        let check = |framing: BodyFraming, raw: &[u8], expected: &[u8], end: usize| {
            assert_eq!(framing.decode(raw), (expected.to_vec(), true));
            for cut in 0..end {
                let (body, done) = framing.decode(&raw[..cut]);
                assert!(expected.starts_with(&body) && !done, "{cut}");
            }
        };
        check(BodyFraming::Length(5), b"hello, world", b"hello", 5);
        check(BodyFraming::Length(0), b"", b"", 0);
        check(BodyFraming::Chunked, b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello", 20);
        check(BodyFraming::Chunked, b"3\r\nhel\r\nnonsense", b"hel", 8);
        let long = [b'a'; 2 * MAX_BODY];
        check(BodyFraming::Length(2 * MAX_BODY), &long, &long[..MAX_BODY], MAX_BODY);
        check(BodyFraming::UntilClosed, &long, &long[..MAX_BODY], MAX_BODY);
        let chunks = b"ff\r\n".iter().chain(&long[..255]).chain(b"\r\n").copied();
        let chunks: Vec<_> = chunks.cycle().take(261 * 5).collect();
        check(BodyFraming::Chunked, &chunks, &long[..MAX_BODY], 261 * 4 + 4 + 4);
    }
}
