//! How is the request of a connection kept in little memory?

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::request::RequestInfo;

/// A [`RequestInfo`] in one buffer of the right size.
///
/// The parts of a `RequestInfo` may be slices of the read buffer of an HTTP server, and keep all
/// of it. A `HeaderMap` needs several times the memory of its text. So a connection keeps this
/// form, and [`get`](Self::get) builds the other one.
///
/// The extensions are kept as they are.
pub struct KeptRequest {
    /// The [address](put_addr) of the client, the target, the headers, and the parameters. Each text
    /// follows its [length](put_len), each list its number of elements. Then whether the request was
    /// secure, and the [time](nanoseconds) of its arrival.
    buffer: Box<[u8]>,
    extensions: Extensions,
}

/// Headers that the buffer has by their index here. Others are there by name.
static KNOWN: [HeaderName; 24] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::ORIGIN,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::USER_AGENT,
    header::PRAGMA,
    header::CACHE_CONTROL,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::COOKIE,
    header::AUTHORIZATION,
    header::REFERER,
    header::FORWARDED,
    header::VIA,
    header::DNT,
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("x-forwarded-for"),
];

/// Precedes the name of a header that is not [known](KNOWN).
const BY_NAME: u8 = u8::MAX;

/// The index in [`KNOWN`]. The compiler makes a decision tree of this, which is several times faster
/// than to search there for each header.
const fn index_of(name: &[u8]) -> u8 {
    match name {
        b"host" => 0,
        b"connection" => 1,
        b"upgrade" => 2,
        b"origin" => 3,
        b"sec-websocket-key" => 4,
        b"sec-websocket-version" => 5,
        b"sec-websocket-extensions" => 6,
        b"sec-websocket-protocol" => 7,
        b"user-agent" => 8,
        b"pragma" => 9,
        b"cache-control" => 10,
        b"accept" => 11,
        b"accept-encoding" => 12,
        b"accept-language" => 13,
        b"cookie" => 14,
        b"authorization" => 15,
        b"referer" => 16,
        b"forwarded" => 17,
        b"via" => 18,
        b"dnt" => 19,
        b"sec-fetch-dest" => 20,
        b"sec-fetch-mode" => 21,
        b"sec-fetch-site" => 22,
        b"x-forwarded-for" => 23,
        _ => BY_NAME,
    }
}

impl KeptRequest {
    /// Copies the request.
    pub fn new(request: RequestInfo) -> Self {
        let mut rest = request;
        let (uri, headers) = (mem::take(&mut rest.uri), mem::take(&mut rest.headers));
        Self::of(&uri, &headers, rest)
    }

    /// Copies a target and headers that stay where they are, and takes the rest of a request.
    pub fn of(uri: &Uri, headers: &HeaderMap, rest: RequestInfo) -> Self {
        let buffer = encode(uri, headers, &rest).into_boxed_slice();
        Self { buffer, extensions: rest.extensions }
    }

    /// The address of the client.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        take_addr(&mut &*self.buffer)
    }

    /// The request. Call it without a lock: it clones values of the application.
    pub fn get(&self) -> RequestInfo {
        let mut buffer = Bytes::copy_from_slice(&self.buffer);
        let peer_addr = take_addr(&mut buffer);
        let uri = Uri::from_maybe_shared(take(&mut buffer)).unwrap_or_default();
        let count = take_len(&mut buffer);
        let mut headers = HeaderMap::with_capacity(count);
        for _ in 0..count {
            if let Some((name, value)) = take_header(&mut buffer) {
                headers.append(name, value);
            }
        }
        let count = take_len(&mut buffer);
        let params = (0..count).map(|_| (take_text(&mut buffer), take_text(&mut buffer)));
        let params = params.collect();
        let secure = buffer.try_get_u8() == Ok(1);
        let since = buffer.try_get_u64().ok().filter(|since| *since > 0);
        let received_at =
            since.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_nanos(since)));
        let extensions = self.extensions.clone();
        RequestInfo { uri, headers, params, extensions, peer_addr, received_at, secure }
    }
}

/// A target, headers, and the rest of a request without its extensions.
fn encode(uri: &Uri, headers: &HeaderMap, rest: &RequestInfo) -> Vec<u8> {
    let RequestInfo { params, peer_addr, received_at, secure, .. } = rest;
    let target = match (uri.authority(), uri.path_and_query()) {
        (None, Some(path)) => Cow::Borrowed(path.as_str()),
        _ => Cow::Owned(uri.to_string()),
    };
    // Exactly what it needs: it does not grow, and leaves no piece of memory behind it.
    let headers_len = headers.iter().map(|(name, value)| header_len(name, value));
    let params_len = params.iter().map(|(name, value)| text_len(name) + text_len(value));
    let len = addr_len(*peer_addr)
        + text_len(target.as_bytes())
        + len_len(headers.len())
        + headers_len.sum::<usize>()
        + len_len(params.len())
        + params_len.sum::<usize>()
        + 1
        + size_of::<u64>();
    let mut buffer = Vec::with_capacity(len);
    put_addr(&mut buffer, *peer_addr);
    put(&mut buffer, target.as_bytes());
    put_len(&mut buffer, headers.len());
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        let known = index_of(name);
        buffer.push(known);
        if known == BY_NAME {
            put(&mut buffer, name);
        }
        buffer.push(value.is_sensitive().into());
        put(&mut buffer, value.as_bytes());
    }
    put_len(&mut buffer, params.len());
    for (name, value) in params {
        put(&mut buffer, name.as_bytes());
        put(&mut buffer, value.as_bytes());
    }
    buffer.push((*secure).into());
    buffer.extend_from_slice(&received_at.map_or(0, nanoseconds).to_be_bytes());
    buffer
}

impl fmt::Debug for KeptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Since 1970, and zero before; the last one is in the year 2554.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

const fn addr_len(addr: Option<SocketAddr>) -> usize {
    match addr {
        None => 1,
        Some(SocketAddr::V4(_)) => 1 + 4 + 2,
        Some(SocketAddr::V6(_)) => 1 + 16 + 2 + 4 + 4,
    }
}

/// Appends an address: the version of IP, and its parts.
fn put_addr(buffer: &mut Vec<u8>, addr: Option<SocketAddr>) {
    match addr {
        None => buffer.push(0),
        Some(SocketAddr::V4(addr)) => {
            buffer.push(4);
            buffer.extend_from_slice(&addr.ip().octets());
            buffer.extend_from_slice(&addr.port().to_be_bytes());
        }
        Some(SocketAddr::V6(addr)) => {
            buffer.push(6);
            buffer.extend_from_slice(&addr.ip().octets());
            buffer.extend_from_slice(&addr.port().to_be_bytes());
            buffer.extend_from_slice(&addr.flowinfo().to_be_bytes());
            buffer.extend_from_slice(&addr.scope_id().to_be_bytes());
        }
    }
}

/// Takes the address at the front.
fn take_addr(buffer: &mut impl Buf) -> Option<SocketAddr> {
    match buffer.try_get_u8().ok()? {
        4 => {
            let (ip, port) = (buffer.try_get_u32().ok()?, buffer.try_get_u16().ok()?);
            Some(SocketAddrV4::new(ip.into(), port).into())
        }
        6 => {
            let (ip, port) = (buffer.try_get_u128().ok()?, buffer.try_get_u16().ok()?);
            let (flow, scope) = (buffer.try_get_u32().ok()?, buffer.try_get_u32().ok()?);
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }
        _ => None,
    }
}

fn take_header(buffer: &mut Bytes) -> Option<(HeaderName, HeaderValue)> {
    let known = buffer.try_get_u8().unwrap_or(BY_NAME);
    let name = match KNOWN.get(usize::from(known)) {
        Some(name) => Some(name.clone()),
        None => HeaderName::from_bytes(&take(buffer)).ok(),
    };
    let is_sensitive = buffer.try_get_u8() == Ok(1);
    let mut value = HeaderValue::from_maybe_shared(take(buffer)).ok()?;
    value.set_sensitive(is_sensitive);
    Some((name?, value))
}

fn take_text(buffer: &mut Bytes) -> String {
    String::from_utf8_lossy(&take(buffer)).into_owned()
}

/// Appends a text.
fn put(buffer: &mut Vec<u8>, text: &[u8]) {
    put_len(buffer, text.len());
    buffer.extend_from_slice(text);
}

/// Takes the text at the front.
fn take(buffer: &mut Bytes) -> Bytes {
    let len = take_len(buffer);
    buffer.split_to(len.min(buffer.len()))
}

fn header_len(name: &HeaderName, value: &HeaderValue) -> usize {
    let name = name.as_str().as_bytes();
    let name_len = if index_of(name) == BY_NAME { text_len(name) } else { 0 };
    1 + name_len + 1 + text_len(value)
}

fn text_len(text: impl AsRef<[u8]>) -> usize {
    let len = text.as_ref().len();
    len_len(len) + len
}

/// How many bytes [`put_len`] appends.
const fn len_len(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a number in groups of seven bits, the lowest first. The highest bit of a byte is
/// set if another one follows.
#[expect(clippy::cast_possible_truncation, reason = "masked to seven bits")]
fn put_len(buffer: &mut Vec<u8>, mut len: usize) {
    while len > 0x7f {
        buffer.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    buffer.push(len as u8);
}

/// Takes the number at the front.
fn take_len(buffer: &mut Bytes) -> usize {
    let (mut len, mut shift) = (0, 0);
    while let Ok(byte) = buffer.try_get_u8() {
        len |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        shift += 7;
        if byte <= 0x7f {
            break;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::PathParams;

    #[test]
    fn a_request_is_the_same_after_it_was_kept() {
        let long = "v".repeat(20_000);
        let targets =
            ["/", "*", "/a?b=%20c", "http://a", "https://a:1/b?c", "wss://[::1]?q", "a:80", "a"];
        for target in targets {
            let mut secret = HeaderValue::from_static("secret");
            secret.set_sensitive(true);
            let request = Request::get(target)
                .header("host", "a")
                .header("x-first", "1")
                .header("cookie", "a=b")
                .header("x-first", &long)
                .header("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap())
                .header("x-empty", "")
                .header("cookie", secret)
                .extension(PathParams::from_iter([("id", "7"), ("", "\u{fc}"), ("id", "8")]))
                .extension(7_u8);
            let mut request = RequestInfo::new(request.body(()).unwrap().into_parts().0);
            request.peer_addr = Some(([127, 0, 0, 1], 80).into());
            request.secure = true;
            let encoded = encode(&request.uri, &request.headers, &request);
            assert_eq!(encoded.len(), encoded.capacity());
            let again = KeptRequest::new(request.clone()).get();
            assert_eq!(again.uri, request.uri);
            assert_eq!(again.uri.to_string(), request.uri.to_string());
            assert!(again.headers.iter().eq(&request.headers));
            let sensitive = again.headers.values().filter(|value| value.is_sensitive());
            assert_eq!(sensitive.count(), 1);
            assert_eq!(again.params, request.params);
            assert_eq!(again.extension::<u8>(), Some(&7));
            assert_eq!(again.peer_addr, request.peer_addr);
            assert_eq!((again.received_at, again.secure), (request.received_at, true));
        }
    }

    #[test]
    fn addresses_are_read_as_they_were_kept() {
        let scoped = SocketAddrV6::new([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), 443, 7, 2).into();
        for addr in [None, Some(([192, 0, 2, 1], 65_535).into()), Some(scoped)] {
            let request = RequestInfo { peer_addr: addr, ..RequestInfo::default() };
            let kept = KeptRequest::new(request);
            assert_eq!((kept.peer_addr(), kept.get().peer_addr), (addr, addr));
        }
    }

    #[test]
    fn every_known_header_is_found_at_its_index() {
        for (index, name) in KNOWN.iter().enumerate() {
            assert_eq!(usize::from(index_of(name.as_str().as_bytes())), index, "{name}");
        }
        assert_eq!(index_of(b"sec-fetch-user"), BY_NAME);
    }

    #[test]
    fn a_request_without_anything_can_be_kept() {
        let again = KeptRequest::new(RequestInfo::default()).get();
        assert_eq!(again.uri, Uri::default());
        assert!(again.headers.is_empty() && again.params.is_empty());
    }

    #[test]
    fn lengths_of_any_size_are_read_as_they_were_written() {
        for len in [0, 1, 127, 128, 16_383, 16_384, usize::MAX] {
            let mut buffer = Vec::new();
            put_len(&mut buffer, len);
            assert_eq!(take_len(&mut buffer.into()), len);
        }
    }
}
