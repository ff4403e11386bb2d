//! Which HTTP URL does a `ws` or `wss` URL stand for, and with which credentials?

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use ws_core::handshake::basic_authorization;
use ws_core::redact::Redacted;

use crate::InvalidUrl;

/// What is escaped in a path.
const IN_PATH: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// What is escaped in a query.
const IN_QUERY: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'#').add(b'\'').add(b'<').add(b'>');

/// The URL of a WebSocket, with the scheme `http` or `https`. It has no user, password or fragment.
///
/// It is read as browsers read it ([URL Standard]), but more strictly: `//` is required, and an
/// IPv4 address has four decimal numbers.
///
/// [URL Standard]: https://url.spec.whatwg.org/
#[derive(Clone)]
pub(crate) struct HttpUrl {
    uri: Uri,
    authority: Authority,
    authorization: Option<HeaderValue>,
}

/// A server: what is between `//` and the path, without the user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    pub(crate) is_encrypted: bool,
    /// A name in ASCII, or an address. An IPv6 address is in brackets.
    pub(crate) host: Box<str>,
    /// `None` stands for the default port of the scheme.
    port: Option<u16>,
    /// The zone of an IPv6 address, which is not sent (RFC 6874).
    pub(crate) zone: Option<Box<str>>,
}

/// Masks secrets.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUrl")
            .field("url", &Redacted(&self.uri))
            .field("zone", &self.authority.zone)
            .finish_non_exhaustive()
    }
}

impl HttpUrl {
    /// Parses a `ws`, `wss`, `http` or `https` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let url = trim(url);
        let (scheme, rest) = split_scheme(url)?;
        let is_encrypted = is_encrypted(scheme, rest)?;
        match rest.contains('#') {
            true => Err(InvalidUrl::Fragment),
            false => Self::absolute(is_encrypted, rest),
        }
    }

    /// Resolves a `Location` header against this URL (RFC 3986 §5.2). Drops its fragment.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let (location, _) = split_at(trim(location), &['#']);
        let joined = match split_scheme(location) {
            Ok((scheme, rest)) => Self::absolute(is_encrypted(scheme, rest)?, rest),
            Err(_) if strip_slashes(location).is_some() => {
                Self::absolute(self.is_encrypted(), location)
            }
            Err(_) => return self.join_path(location),
        };
        joined.map(|mut joined| {
            // The server knows no zone, so its `Location` has none.
            if joined.authority.host == self.authority.host && joined.authority.zone.is_none() {
                joined.authority.zone.clone_from(&self.authority.zone);
            }
            joined
        })
    }

    /// Takes the credentials of `other`, unless this URL has its own.
    pub(crate) fn inherit_credentials(&mut self, other: &Self) {
        if self.authorization.is_none() {
            self.authorization.clone_from(&other.authorization);
        }
    }

    /// The target of a request, with the scheme `http` or `https`.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Basic authentication with the user and the password of the URL, if it has any.
    pub(crate) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.authority.is_encrypted
    }

    /// `rest` is what follows the scheme and its colon.
    fn absolute(is_encrypted: bool, rest: &str) -> Result<Self, InvalidUrl> {
        let rest = strip_slashes(rest).ok_or(InvalidUrl::Relative)?;
        let (authority, target) = split_at(rest, &['/', '\\', '?']);
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        let authority = Authority::parse(is_encrypted, server)?;
        let (path, query) = split_query(target);
        Self::new(authority, user.and_then(basic), path, query)
    }

    /// Resolves a path, a query or both.
    fn join_path(&self, location: &str) -> Result<Self, InvalidUrl> {
        let (path, query) = split_query(location);
        let (base, base_query) = (self.uri.path(), self.uri.query());
        let (path, query) = match path {
            "" => (Cow::Borrowed(base), query.or(base_query)),
            _ if path.starts_with(['/', '\\']) => (Cow::Borrowed(path), query),
            _ => {
                let (folder, _) = base.rsplit_once('/').unwrap_or_default();
                (Cow::Owned(format!("{folder}/{path}")), query)
            }
        };
        Self::new(self.authority.clone(), None, &path, query)
    }

    fn new(
        authority: Authority,
        authorization: Option<HeaderValue>,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, InvalidUrl> {
        let mut text = format!("{authority}{}", normal_path(path));
        if let Some(query) = query {
            text.push('?');
            text.extend(utf8_percent_encode(query, &IN_QUERY));
        }
        let uri = text.parse().or(Err(InvalidUrl::Uri))?;
        Ok(Self { uri, authority, authorization })
    }
}

impl Authority {
    /// Parses a host, a port and a zone.
    fn parse(is_encrypted: bool, text: &str) -> Result<Self, InvalidUrl> {
        let (host, zone, port) = match text.strip_prefix('[') {
            Some(text) => {
                let (address, port) = text.split_once(']').ok_or(InvalidUrl::Host)?;
                let (address, zone) = match address.split_once("%25") {
                    Some((address, zone)) => (address, Some(parse_zone(zone)?)),
                    None => (address, None),
                };
                let address: Ipv6Addr = address.parse().or(Err(InvalidUrl::Host))?;
                let port = if port.is_empty() { ":" } else { port };
                let port = port.strip_prefix(':').ok_or(InvalidUrl::Port)?;
                (format!("[{address}]"), zone, port)
            }
            None => {
                let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
                (parse_name(host)?, None, port)
            }
        };
        let port = parse_port(port)?.filter(|port| *port != default_port(is_encrypted));
        Ok(Self { is_encrypted, host: host.into(), port, zone })
    }

    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    pub(crate) const fn port(&self) -> u16 {
        match self.port {
            Some(port) => port,
            None => default_port(self.is_encrypted),
        }
    }

    pub(crate) const fn has_default_port(&self) -> bool {
        self.port.is_none()
    }

    /// Do both lead to the same host?
    pub(crate) fn has_host_of(&self, other: &Self) -> bool {
        self.host == other.host && self.zone == other.zone
    }
}

/// The start of an HTTP URL.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Splits a URL at the colon after its scheme.
pub(crate) fn split_scheme(url: &str) -> Result<(&str, &str), InvalidUrl> {
    let is_scheme = |text: &&str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let split = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
    split.ok_or(InvalidUrl::Relative)
}

/// Parses a port; `None` if there is none.
pub(crate) fn parse_port(text: &str) -> Result<Option<u16>, InvalidUrl> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.is_empty() => Ok(None),
        true => text.parse().map(Some).or(Err(InvalidUrl::Port)),
        false => Err(InvalidUrl::Port),
    }
}

/// Is a WebSocket with this scheme encrypted?
fn is_encrypted(scheme: &str, rest: &str) -> Result<bool, InvalidUrl> {
    let is = |name| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is("ws") || is("http") => Ok(false),
        () if is("wss") || is("https") => Ok(true),
        () => Err(InvalidUrl::scheme(scheme, rest)),
    }
}

/// Removes what browsers ignore around a URL.
fn trim(url: &str) -> &str {
    url.trim_matches(|c| c <= ' ')
}

/// Removes `//`, for which browsers take backslashes, too.
fn strip_slashes(text: &str) -> Option<&str> {
    text.strip_prefix(['/', '\\'])?.strip_prefix(['/', '\\'])
}

/// Splits before the first of some characters.
fn split_at<'a>(text: &'a str, at: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

const fn default_port(is_encrypted: bool) -> u16 {
    if is_encrypted { 443 } else { 80 }
}

/// A zone, such as the `eth0` of `[fe80::1%25eth0]` (RFC 6874).
fn parse_zone(zone: &str) -> Result<Box<str>, InvalidUrl> {
    let zone = percent_decode_str(zone).decode_utf8_lossy();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match !zone.is_empty() && zone.bytes().all(is_legal) {
        true => Ok(zone.into()),
        false => Err(InvalidUrl::Host),
    }
}

/// A name in ASCII and lower case, or an IPv4 address.
fn parse_name(host: &str) -> Result<String, InvalidUrl> {
    let decoded = percent_decode_str(host).decode_utf8().or(Err(InvalidUrl::Host))?;
    let name = to_ascii(&decoded)?;
    let is_forbidden = |byte: u8| byte <= b' ' || b"#/:<>?@[\\]^|%\x7f".contains(&byte);
    if name.is_empty() || name.bytes().any(is_forbidden) {
        return Err(InvalidUrl::Host);
    }
    let whole = name.strip_suffix('.').unwrap_or(&name);
    let last = whole.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || last.starts_with("0x") {
        let address: Ipv4Addr = whole.parse().or(Err(InvalidUrl::Host))?;
        return Ok(address.to_string());
    }
    Ok(name)
}

#[cfg(feature = "idn")]
fn to_ascii(name: &str) -> Result<String, InvalidUrl> {
    let ascii = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL);
    ascii.map(Cow::into_owned).or(Err(InvalidUrl::Host))
}

#[cfg(not(feature = "idn"))]
fn to_ascii(name: &str) -> Result<String, InvalidUrl> {
    if name.is_ascii() { Ok(name.to_ascii_lowercase()) } else { Err(InvalidUrl::NotAscii) }
}

/// A path without `.` and `..`, escaped.
fn normal_path(path: &str) -> String {
    let mut segments = Vec::new();
    let path = path.strip_prefix(['/', '\\']).unwrap_or(path);
    let mut rest = path.split(['/', '\\']).peekable();
    while let Some(segment) = rest.next() {
        match &*segment.to_ascii_lowercase().replace("%2e", ".") {
            "." => {}
            ".." => drop(segments.pop()),
            _ => {
                segments.push(segment);
                continue;
            }
        }
        if rest.peek().is_none() {
            segments.push("");
        }
    }
    let escaped = segments.iter().map(|segment| utf8_percent_encode(segment, &IN_PATH));
    escaped.fold(String::new(), |path, segment| format!("{path}/{segment}"))
}

/// Basic authentication (RFC 7617) with the user and the password of a URL.
fn basic(user: &str) -> Option<HeaderValue> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let decode = |text| percent_decode_str(text).collect::<Vec<u8>>();
    Some(basic_authorization(&decode(user), &decode(password)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn urls_become_http_urls() {
        let check = |url: &str, expected: &str| {
            assert_eq!(HttpUrl::parse(url).unwrap().uri(), expected, "{url}");
        };
        check("ws://example.com", "http://example.com/");
        check("ws://example.com:80/chat?room=1", "http://example.com/chat?room=1");
        check("wss://example.com:443/chat", "https://example.com/chat");
        check("wss://example.com:80", "https://example.com:80/");
        check("http://[::1]:8080/a b", "http://[::1]:8080/a%20b");
        check("https://EXAMPLE.com?x=`{}|'", "https://example.com/?x=`{}|%27");
        check("ws://user:secret@example.com/%23", "http://example.com/%23");
        check(" ws://ex%61mple.com:/a/./b/%2e%2E/c/..\n", "http://example.com/a/");
        check("ws:\\\\a\\b/c", "http://a/b/c");
        check("ws://127.0.0.1./", "http://127.0.0.1/");
        check("WS://[0:0:0:0:0:0:0:1]", "http://[::1]/");
        #[cfg(feature = "idn")]
        check("WS://Bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC");
    }

    #[test]
    fn the_zone_of_an_address_is_taken_apart() {
        let check = |url: &str, expected: &str, zone: Option<&str>| {
            let parsed = HttpUrl::parse(url).unwrap();
            assert_eq!(parsed.uri(), expected, "{url}");
            assert_eq!(parsed.authority().zone.as_deref(), zone, "{url}");
        };
        check("ws://[::1%25lo]:80/a", "http://[::1]/a", Some("lo"));
        check("wss://[fe80::1%25eth0.5]", "https://[fe80::1]/", Some("eth0.5"));
        check("ws://u:p@[fe80::1%252]?[::1%25x]", "http://[fe80::1]/?[::1%25x]", Some("2"));
        check("ws://[fe80::1]/[::1%25x]", "http://[fe80::1]/[::1%25x]", None);
        check("ws://a/?u=//[::1%25x]", "http://a/?u=//[::1%25x]", None);
        for malformed in ["ws://[::1%25]", "ws://[::1%lo]", "ws://[::1%25a%2Fb]", "ws://a%25lo"] {
            HttpUrl::parse(malformed).unwrap_err();
        }
        let from = HttpUrl::parse("ws://[fe80::1%25eth0]/").unwrap();
        for (location, zone) in [
            ("/b", Some("eth0")),
            ("ws://[fe80::1]:81/", Some("eth0")),
            ("ws://[fe80::1%25eth1]/", Some("eth1")),
            ("//[fe80::1%25eth1]/", Some("eth1")),
            ("ws://[fe80::2]/", None),
        ] {
            assert_eq!(
                from.join(location).unwrap().authority().zone.as_deref(),
                zone,
                "{location}"
            );
        }
    }

    #[test]
    fn other_urls_are_rejected() {
        let check = |url: &str, expected: &str| {
            let error = HttpUrl::parse(url).unwrap_err();
            assert!(error.to_string().contains(expected), "{url}: {error}");
        };
        for relative in ["", "/chat", "example.com/chat", "//example.com", "ws:", "ws:a", "ws:/a"] {
            check(relative, "absolute URL");
        }
        for host in [
            "",
            ":80",
            "a b",
            "[::1",
            "[::1",
            "[1.2.3.4]",
            "a:80:80",
            "1.2.3.256",
            "1.2.3",
            "0x7f.1",
            "01.2.3.4",
            "a|b",
            "a%2Fb",
            "%ff",
            "user@",
        ] {
            check(&format!("ws://{host}"), "host is invalid");
        }
        for port in ["65536", "+80", "8a", " 80"] {
            check(&format!("ws://example.com:{port}/"), "port");
            check(&format!("ws://[::1]:{port}/"), "port");
        }
        check("ws://[::1]80", "port");
        check(&format!("ws://a/{}", "b".repeat(64 * 1024)), "HTTP request target");
        check("ftp://example.com", "`ftp`");
        check("localhost:8080", "`localhost`");
        check("ws+unix:/run/socket", "`ws+unix`");
        // What looks like a scheme is a user.
        check("ann:secret@example.com", "absolute URL");
        check("ws://example.com/#", "%23");
        check("wss://example.com/chat#room", "%23");
        #[cfg(not(feature = "idn"))]
        check("ws://b\u{fc}cher.example", "feature `idn`");
    }

    #[test]
    fn user_and_password_become_basic_authentication() {
        let check = |url: &str, plain: Option<&str>| {
            let parsed = HttpUrl::parse(url).unwrap();
            let value = parsed.authorization().map(|value| value.to_str().unwrap());
            let expected = plain.map(|plain| format!("Basic {}", BASE64.encode(plain)));
            assert_eq!(value, expected.as_deref(), "{url}");
            assert!(parsed.authorization().is_none_or(HeaderValue::is_sensitive));
        };
        check("ws://example.com", None);
        check("ws://@example.com", None);
        check("ws://:@example.com", None);
        check("ws://user@example.com", Some("user:"));
        check("ws://:secret@example.com", Some(":secret"));
        check("ws://user:pass+word@example.com", Some("user:pass+word"));
        check("ws://us@er:pass@example.com", Some("us@er:pass"));
        check("ws://a%40b:p%3a%2Fw@example.com", Some("a@b:p:/w"));
        check("ws://ü:%e2%82%ac@example.com", Some("ü:€"));
    }

    /// What the `url` crate makes of the same text.
    fn oracle(url: &Url) -> (String, Option<String>) {
        let mut without = url.clone();
        without
            .set_scheme(if matches!(url.scheme(), "ws" | "http") { "http" } else { "https" })
            .unwrap();
        without.set_username("").unwrap();
        without.set_password(None).unwrap();
        without.set_fragment(None);
        let decode = |text| percent_decode_str(text).collect::<Vec<_>>();
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let basic = || [decode(user), vec![b':'], decode(password)].concat();
        let basic = (!user.is_empty() || !password.is_empty()).then(basic);
        (without.into(), basic.map(|plain| format!("Basic {}", BASE64.encode(plain))))
    }

    fn ours(url: &HttpUrl) -> (String, Option<String>) {
        let basic = url.authorization().map(|value| value.to_str().unwrap().to_owned());
        (url.uri().to_string(), basic)
    }

    /// Pieces of URLs in any order: more telling than characters. Without `|`, because `url` takes
    /// `a|` for a drive of Windows, as the standard has it for files only.
    fn text() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "ws",
            "wss",
            "http",
            "https",
            "ftp",
            ":",
            "://",
            "//",
            "/",
            "\\",
            "?",
            "#",
            "@",
            "a",
            "B.c",
            ".",
            "..",
            "%2e",
            "%2E",
            "%41",
            "%25",
            "%",
            "[::1]",
            "[",
            "]",
            "127.0.0.1",
            "1",
            "0x1",
            ":80",
            ":443",
            ":8080",
            " ",
            "^",
            "`",
            "{",
            "}",
            "'",
            "\"",
            "<",
            ">",
            "&",
            "=",
            "\u{fc}",
            "\u{ff11}",
            "xn--a",
            "-",
            "_",
            "~",
            ";",
            ",",
            "!",
            "$",
            "(",
            ")",
            "*",
            "+",
        ];
        proptest::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|it| it.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What is accepted leads where a browser would go.
        #[test]
        fn the_url_standard_is_followed(rest in text()) {
            for url in [rest.clone(), format!("ws://{rest}"), format!("wss://a{rest}")] {
                if let Ok(parsed) = HttpUrl::parse(&url) {
                    let expected = Url::parse(&url).map(|url| oracle(&url));
                    prop_assert_eq!(Ok(ours(&parsed)), expected, "{}", url);
                }
            }
        }

        #[test]
        fn locations_are_resolved_by_the_url_standard(location in text()) {
            let base = "ws://ann@example.com:81/b/c?d";
            let (from, base) = (HttpUrl::parse(base).unwrap(), Url::parse("ws://example.com:81/b/c?d").unwrap());
            // Browsers read `ws:a` and `http:a` in two ways, which depend on the base.
            if let Ok(joined) = from.join(&location) {
                let expected = base.join(&location).map(|url| oracle(&url));
                prop_assert_eq!(Ok(ours(&joined)), expected, "{}", location);
            }
        }
    }
}
