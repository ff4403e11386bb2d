//! How are HTTP/1.1 request and response heads encoded and decoded?
//!
//! For opening handshakes on a bare stream, without an HTTP library.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};

use super::HandshakeError;
use super::head_limit::HeadLimit;

/// The longest head in bytes.
pub const MAX_HEAD: usize = HeadLimit::DEFAULT.bytes;

/// The maximum number of headers of a request.
pub const MAX_HEADERS: usize = HeadLimit::DEFAULT.headers;

/// The maximum number of headers of a response.
pub const MAX_RESPONSE_HEADERS: usize = 256;

/// Room for the head of a common response.
const RESPONSE_HEAD: usize = 256;

/// The maximum number of interim responses that a client accepts before the final one
/// (RFC 9110 §15.2).
pub const MAX_INTERIM: usize = 8;

/// Decodes the head of a request at the front of `input`. Returns it with the number of bytes
/// used, or `None` when more bytes are needed.
///
/// # Errors
///
/// When the head is malformed, or exceeds [`MAX_HEAD`] or [`MAX_HEADERS`].
pub fn decode_request(input: &[u8]) -> Result<Option<(Request<()>, usize)>, HeadError> {
    decode(input, HeadLimit::DEFAULT, Bytes::copy_from_slice)
}

/// Decodes the head of a request at the front of `input`, with these limits. Returns it with the
/// bytes behind it, or `None` when more bytes are needed.
///
/// The parts of the request are slices of `input`: one allocation instead of one for each header.
#[cfg(feature = "server")]
pub(crate) fn take_request(
    input: &mut Vec<u8>,
    limit: HeadLimit,
) -> Result<Option<(Request<()>, Bytes)>, HeadError> {
    let head = Bytes::from(std::mem::take(input));
    match decode(&head, limit, |part| head.slice_ref(part))? {
        Some((request, taken)) => Ok(Some((request, head.slice(taken..)))),
        None => {
            // Not copied: there is no other slice.
            *input = head.into();
            Ok(None)
        }
    }
}

/// `keep` makes a part of the input a part of the request.
fn decode(
    input: &[u8],
    limit: HeadLimit,
    keep: impl Fn(&[u8]) -> Bytes,
) -> Result<Option<(Request<()>, usize)>, HeadError> {
    // Not initialised: that would take longer than to parse a common head.
    let mut few = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut many = Vec::new();
    let headers = match few.get_mut(..limit.headers) {
        Some(few) => few,
        None => {
            let lines = input.iter().filter(|byte| **byte == b'\n').count();
            many.resize(limit.headers.min(lines), MaybeUninit::uninit());
            &mut many[..]
        }
    };
    let mut head = httparse::Request::new(&mut []);
    let taken =
        complete(input, limit.bytes, |input| head.parse_with_uninit_headers(input, headers))?;
    let Some(taken) = taken else { return Ok(None) };
    let mut request = Request::new(());
    *request.version_mut() = version(head.version);
    *request.method_mut() =
        head.method.unwrap_or_default().parse().or(Err(HeadError::Malformed))?;
    let target = head.path.unwrap_or_default();
    let uri = Uri::from_maybe_shared(keep(target.as_bytes()));
    *request.uri_mut() = uri.or(Err(HeadError::Malformed))?;
    *request.headers_mut() = header_map(head.headers, &keep)?;
    Ok(Some((request, taken)))
}

/// Decodes the head of a response at the front of `input`. Returns it with the number of bytes
/// used, or `None` when more bytes are needed.
///
/// A folded header line is joined by spaces (RFC 9112 §5.2).
///
/// # Errors
///
/// When the head is malformed, or exceeds [`MAX_HEAD`] or [`MAX_RESPONSE_HEADERS`].
pub fn decode_response(input: &[u8]) -> Result<Option<(Response<()>, usize)>, HeadError> {
    let mut headers = [EMPTY_HEADER; MAX_RESPONSE_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parse = |input| config.parse_response(&mut head, input);
    let Some(taken) = complete(input, MAX_HEAD, parse)? else { return Ok(None) };
    let mut response = Response::new(());
    *response.version_mut() = version(head.version);
    let status = StatusCode::from_u16(head.code.unwrap_or_default());
    *response.status_mut() = status.or(Err(HeadError::Malformed))?;
    *response.headers_mut() = header_map(head.headers, Bytes::copy_from_slice)?;
    Ok(Some((response, taken)))
}

/// Encodes a request without a body. `Host` is taken from the URI unless it is set.
pub fn encode_request(request: &Request<()>) -> Vec<u8> {
    let uri = request.uri();
    // Unlike `as_str`, this prints a slash before a query without a path.
    let path = uri.path_and_query().map_or_else(|| "/".into(), |path| path.to_string());
    let mut head = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
    if let (Some(host), false) = (uri.host(), request.headers().contains_key(HOST)) {
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        head.extend_from_slice(format!("host: {host}{port}\r\n").as_bytes());
    }
    print_headers(&mut head, request.headers());
    head
}

/// Encodes a response with its body. `Content-Length` is added unless it is set. An informational
/// response, such as 101, has no body and no `Content-Length`.
pub fn encode_response(response: &Response<impl AsRef<[u8]>>) -> Vec<u8> {
    let (status, body) = (response.status(), response.body().as_ref());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = Vec::with_capacity(RESPONSE_HEAD + body.len());
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    if status.is_informational() {
        print_headers(&mut bytes, response.headers());
        return bytes;
    }
    if !response.headers().contains_key(CONTENT_LENGTH) {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    print_headers(&mut bytes, response.headers());
    bytes.extend_from_slice(body);
    bytes
}

/// Why bytes are not a valid HTTP/1.1 head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The bytes violate the grammar (RFC 9112).
    Malformed,
    /// The head exceeds [`MAX_HEAD`] bytes, [`MAX_HEADERS`] in a request, or
    /// [`MAX_RESPONSE_HEADERS`].
    TooLarge,
}

impl_error!(HeadError {
    Self::Malformed => "the head is malformed";
    Self::TooLarge => "the head is too large";
});

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::HeadMalformed,
            HeadError::TooLarge => Self::HeadTooLarge,
        }
    }
}

/// Parses up to `max` bytes. Returns the number of bytes used.
fn complete<'a>(
    input: &'a [u8],
    max: usize,
    parse: impl FnOnce(&'a [u8]) -> httparse::Result<usize>,
) -> Result<Option<usize>, HeadError> {
    match parse(input.get(..max).unwrap_or(input)) {
        Ok(Status::Complete(taken)) => Ok(Some(taken)),
        Ok(Status::Partial) if input.len() < max => Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

fn header_map(
    headers: &[Header<'_>],
    keep: impl Fn(&[u8]) -> Bytes,
) -> Result<HeaderMap, HeadError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(keep(header.value));
        // A line break is no valid value. Only the parser of responses accepts one.
        let value = value.or_else(|_| HeaderValue::from_bytes(&unfold(header.value)));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(HeadError::Malformed) };
        map.append(name, value);
    }
    Ok(map)
}

/// Joins the lines of a folded value.
fn unfold(value: &[u8]) -> Vec<u8> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let join = |byte: &u8| if is_break(byte) { b' ' } else { *byte };
    value.trim_ascii().iter().map(join).collect()
}

/// Appends headers and the empty line after them. `http` rejects line breaks in names and values.
fn print_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::Rejection;
    use super::*;

    const REQUEST: &[u8] =
        b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\r\nrest";

    #[test]
    fn a_request_is_read_at_every_cut() {
        let (request, taken) = decode_request(REQUEST).unwrap().unwrap();
        assert_eq!(&REQUEST[taken..], b"rest");
        assert_eq!(request.uri(), "/chat?room=1");
        assert_eq!(request.headers()[HOST], "example.com");
        for cut in 0..taken {
            assert!(decode_request(&REQUEST[..cut]).unwrap().is_none(), "{cut}");
        }
    }

    #[test]
    fn targets_begin_with_a_slash() {
        let check = |uri: &str, line: &str| {
            let printed = encode_request(&Request::get(uri).body(()).unwrap());
            assert!(printed.starts_with(line.as_bytes()), "{uri}");
        };
        check("ws://example.com", "GET / HTTP/1.1\r\nhost: example.com\r\n\r\n");
        check("ws://example.com?room=1", "GET /?room=1 HTTP/1.1\r\n");
        check("ws://user@[::1]:80/chat", "GET /chat HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
        check("/chat", "GET /chat HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn what_is_printed_is_read() {
        let request = Request::get("ws://example.com:8080/chat?room=1").header("a", "b");
        let printed = encode_request(&request.body(()).unwrap());
        let (request, taken) = decode_request(&printed).unwrap().unwrap();
        assert_eq!((request.uri().to_string().as_str(), taken), ("/chat?room=1", printed.len()));
        assert_eq!(request.headers()[HOST], "example.com:8080");
        assert_eq!(request.headers()["a"], "b");

        let printed = encode_response(&Rejection::Method.into_response());
        let (response, taken) = decode_response(&printed).unwrap().unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET");
        assert_eq!(response.headers()[CONTENT_LENGTH], (printed.len() - taken).to_string());
        assert_eq!(&printed[taken..], Rejection::Method.to_string().as_bytes());
    }

    #[test]
    fn an_upgrade_has_no_length_and_no_body() {
        let response = Response::builder().status(101).header("upgrade", "websocket");
        let printed = encode_response(&response.body("body").unwrap());
        assert_eq!(printed, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n");
    }

    #[test]
    fn heads_are_bounded() {
        let check = |head: &[u8], error| {
            assert_eq!(decode_request(head).unwrap_err(), error);
        };
        let long = [b"GET / HTTP/1.1\r\na: ".as_slice(), &[b'a'; MAX_HEAD], b"\r\n\r\n"].concat();
        check(&long, HeadError::TooLarge);
        check(&long[..MAX_HEAD], HeadError::TooLarge);
        assert!(decode_request(&long[..MAX_HEAD - 1]).unwrap().is_none());
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        check(many.as_bytes(), HeadError::TooLarge);
        let full = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
        assert!(decode_request(full.as_bytes()).unwrap().is_some());
    }

    #[test]
    fn responses_have_more_headers_than_requests() {
        let decode = |count| {
            let head = format!("HTTP/1.1 101 Yes\r\n{}\r\n", "a: b\r\n".repeat(count));
            decode_response(head.as_bytes()).map(|head| head.unwrap().0.headers().len())
        };
        assert_eq!(decode(150), Ok(150));
        assert_eq!(decode(MAX_RESPONSE_HEADERS), Ok(MAX_RESPONSE_HEADERS));
        assert_eq!(decode(MAX_RESPONSE_HEADERS + 1), Err(HeadError::TooLarge));
    }

    #[test]
    fn folded_lines_of_a_response_are_joined() {
        let check = |lines: &str, expected: &str| {
            let head = format!("HTTP/1.1 101 Yes\r\n{lines}\r\nb: c\r\n\r\n");
            let (response, taken) = decode_response(head.as_bytes()).unwrap().unwrap();
            assert_eq!((&response.headers()["a"], taken), (&expected.parse().unwrap(), head.len()));
            assert_eq!(response.headers()["b"], "c", "{lines:?}");
            for cut in 0..taken {
                assert!(decode_response(&head.as_bytes()[..cut]).unwrap().is_none(), "{cut}");
            }
        };
        check("a: x", "x");
        check("a: x\r\n y", "x   y");
        check("a:\r\n\tx", "x");
        check("a: x\r\n ", "x");
        check("a: x\r\n y\r\n z", "x   y   z");
    }

    #[test]
    fn what_is_not_http_1_is_malformed() {
        for head in [
            "hello\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\na b: c\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\na: \0\r\n\r\n",
            "GET a:b:c HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(
                decode_request(head.as_bytes()).unwrap_err(),
                HeadError::Malformed,
                "{head}"
            );
        }
        for head in ["HTTP/1.1 1 no\r\n\r\n", "HTTP/1.1 000 no\r\n\r\n", "HTTP/3 200\r\n\r\n"] {
            assert_eq!(
                decode_response(head.as_bytes()).unwrap_err(),
                HeadError::Malformed,
                "{head}"
            );
        }
    }
}
