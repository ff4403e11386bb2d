//! Which proxies may name the address of the client, and the host and the scheme of the request?

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use super::headers::split;
use crate::Escaped;

/// The reverse proxies whose forwarding headers a server trusts. Set by
/// [`AcceptOptions::trusted_proxies`](super::AcceptOptions::trusted_proxies). Default: none, and
/// forwarding headers are ignored.
///
/// It applies to [`Conn::peer_addr`](crate::Conn::peer_addr), `RequestInfo::peer_addr`,
/// `RequestInfo::secure`, the limits by address, the log, and the host that
/// [`Origin`](super::Origin) compares with.
///
/// The headers count only if the peer of the transport is one of these proxies. The client is the
/// last address in `X-Forwarded-For` that is not an address of such a proxy, because the client can
/// forge the addresses before it. The host is the last one in `X-Forwarded-Host`, or else that of the
/// request. The scheme is the last one in `X-Forwarded-Proto`: with `https` or `wss`, the request is
/// secure. The client can forge the values before the last one. So behind several proxies, the inner
/// ones have to pass both headers on as they are, or to replace them by the values of the outer one.
///
/// A proxy has to append to, or replace, the headers that are read here. It passes others on as the
/// client sent them. So only one kind is read: `X-Forwarded-*`, or [`Forwarded`](Self::forwarded).
///
/// ```
/// use ws_core::handshake::{AcceptOptions, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "::1", "10.0.0.0/8"])?;
/// let options = AcceptOptions::new().trusted_proxies(proxies);
/// # Ok::<(), ws_core::handshake::InvalidNetwork>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct TrustedProxies {
    networks: Vec<Network>,
    headers: ForwardingHeaders,
}

/// Which headers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ForwardingHeaders {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A text that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(Box<str>);

impl_error!(InvalidNetwork {
    Self(text) => "`{}` is no address and no network, such as 10.0.0.0/8", Escaped::new(&**text);
});

impl TrustedProxies {
    /// Proxies with these addresses, or in these networks: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
    ///
    /// # Errors
    ///
    /// If a text is neither an address nor a network.
    pub fn new(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidNetwork> {
        let networks = networks.into_iter().map(|text| {
            let text = text.as_ref();
            Network::parse(text).ok_or_else(|| InvalidNetwork(text.into()))
        });
        let networks = networks.collect::<Result<_, _>>()?;
        Ok(Self { networks, headers: ForwardingHeaders::XForwarded })
    }

    /// Reads `Forwarded` ([RFC 7239]) instead of `X-Forwarded-For`, `X-Forwarded-Host` and
    /// `X-Forwarded-Proto`. The host and the scheme are those in the element of the client.
    ///
    /// [RFC 7239]: https://www.rfc-editor.org/rfc/rfc7239
    pub const fn forwarded(mut self) -> Self {
        self.headers = ForwardingHeaders::Forwarded;
        self
    }

    /// The address of the client, behind this peer of the transport.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        self.walk(peer, headers).0
    }

    /// The host that the client has asked for, if this peer of the transport may name it.
    pub(super) fn host<'a>(&self, peer: SocketAddr, headers: &'a HeaderMap) -> Option<&'a str> {
        self.value(peer, headers, Field::Host)
    }

    /// Whether the client has sent the request over TLS. `None` if this peer of the transport does
    /// not tell, or may not.
    pub(super) fn is_secure(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<bool> {
        let scheme = self.value(peer, headers, Field::Proto)?;
        Some(["https", "wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure)))
    }

    /// The value of a field that a trusted proxy has set, and not the client.
    ///
    /// A proxy adds all fields in one element of `Forwarded`, so the element with the address of the
    /// client has the others, too. Of `X-Forwarded-*`, a proxy may append to one and pass another
    /// on, so the lists have different lengths: only the last value is surely not of the client.
    fn value<'a>(&self, peer: SocketAddr, headers: &'a HeaderMap, field: Field) -> Option<&'a str> {
        if !self.trusts(peer.ip()) {
            return None;
        }
        let from_end = match self.headers {
            ForwardingHeaders::XForwarded => 0,
            ForwardingHeaders::Forwarded => self.walk(peer, headers).1.checked_sub(1)?,
        };
        self.hops(headers, field).into_iter().rev().nth(from_end).flatten()
    }

    /// The address of the client, and how many elements were read, all of which trusted proxies have
    /// added.
    fn walk(&self, peer: SocketAddr, headers: &HeaderMap) -> (SocketAddr, usize) {
        let (mut client, mut read) = (peer, 0);
        let mut hops = self.hops(headers, Field::For);
        while self.trusts(client.ip())
            && let Some(hop) = hops.pop()
        {
            read += 1;
            let Some(address) = hop.and_then(parse_node) else { break };
            client = address;
        }
        (client, read)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// A field of each hop, that of the client first.
    fn hops<'a>(&self, headers: &'a HeaderMap, field: Field) -> Vec<Option<&'a str>> {
        let (name, parameter) = match (self.headers, field) {
            (ForwardingHeaders::XForwarded, Field::For) => ("x-forwarded-for", None),
            (ForwardingHeaders::XForwarded, Field::Host) => ("x-forwarded-host", None),
            (ForwardingHeaders::XForwarded, Field::Proto) => ("x-forwarded-proto", None),
            (ForwardingHeaders::Forwarded, Field::For) => ("forwarded", Some("for")),
            (ForwardingHeaders::Forwarded, Field::Host) => ("forwarded", Some("host")),
            (ForwardingHeaders::Forwarded, Field::Proto) => ("forwarded", Some("proto")),
        };
        let lines = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        let elements = lines.flat_map(|line| match parameter {
            None => line.split(|byte| *byte == b',').collect(),
            Some(_) => forwarded_elements(line),
        });
        elements.map(|element| value_of(element.trim_ascii(), parameter)).collect()
    }
}

/// The elements of a line of `Forwarded` (RFC 7239 §4). The line is read from its end: a proxy has added
/// the last element, whose quotes are complete, and the client may have left one open before it. A host
/// may contain a comma, then the proxy quotes it.
fn forwarded_elements(line: &[u8]) -> Vec<&[u8]> {
    let is_escaped = |at| {
        let before = line.get(..at).unwrap_or_default().iter().rev();
        before.take_while(|byte| **byte == b'\\').count() % 2 == 1
    };
    let (mut elements, mut rest, mut is_quoted) = (Vec::new(), line, false);
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !(is_quoted && is_escaped(at)) => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let (before, element) = rest.split_at(at);
                elements.push(element.get(1..).unwrap_or_default());
                rest = before;
            }
            _ => {}
        }
    }
    elements.push(rest);
    elements.reverse();
    elements
}

#[derive(Clone, Copy)]
enum Field {
    For,
    Host,
    Proto,
}

/// The value of a parameter in an element of `Forwarded`; without a parameter, the element.
fn value_of<'a>(element: &'a [u8], parameter: Option<&str>) -> Option<&'a str> {
    let Some(parameter) = parameter else {
        return str::from_utf8(element).ok().filter(|it| !it.is_empty());
    };
    let pairs = split(element, b';').map(|pair| str::from_utf8(pair).ok()?.split_once('='));
    let mut pairs = pairs.flatten();
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(parameter))?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// An address, with or without a port and brackets. `None` for a name such as `unknown`.
fn parse_node(text: &str) -> Option<SocketAddr> {
    let without_brackets = || text.strip_prefix('[')?.strip_suffix(']');
    let ip = || without_brackets().unwrap_or(text).parse::<IpAddr>().ok();
    let address = text.parse().ok().or_else(|| Some(SocketAddr::new(ip()?, 0)))?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// A network. IPv4 is mapped to IPv6, as a listener on both sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    /// How many of the lowest bits differ within the network.
    free_bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(before, after)| (before, Some(after)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { Ipv6Addr::BITS };
        let prefix = prefix.map_or(Some(bits), |prefix| {
            let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| prefix.parse().ok())?
        });
        Some(Self { bits: bits_of(address), free_bits: bits.checked_sub(prefix?)? })
    }

    fn contains(self, address: IpAddr) -> bool {
        (self.bits ^ bits_of(address)).checked_shr(self.free_bits).unwrap_or(0) == 0
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in rows.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["127.0.0.1", "10.0.0.0/8", "fd00::/8"]).unwrap()
    }

    /// The peer of the transport, headers → the client.
    #[track_caller]
    fn check_client(
        proxies: &TrustedProxies,
        peer: &str,
        rows: &[(&'static str, &str)],
        expected: &str,
    ) {
        let peer = parse_node(peer).unwrap();
        let client = proxies.client(peer, &headers(rows));
        assert_eq!(client, parse_node(expected).unwrap(), "{rows:?}");
    }

    const FOR: &str = "x-forwarded-for";

    #[test]
    fn the_client_is_the_last_address_that_is_not_of_a_proxy() {
        let proxies = proxies();
        let check = |peer, rows: &[_], expected| check_client(&proxies, peer, rows, expected);
        check("127.0.0.1:5000", &[], "127.0.0.1:5000");
        check("127.0.0.1:5000", &[(FOR, "192.0.2.1")], "192.0.2.1");
        check("[::ffff:127.0.0.1]:5000", &[(FOR, "192.0.2.1")], "192.0.2.1");
        check("127.0.0.1", &[(FOR, "192.0.2.1:4711")], "192.0.2.1:4711");
        check("127.0.0.1", &[(FOR, "2001:db8::1")], "2001:db8::1");
        check("127.0.0.1", &[(FOR, "[2001:db8::1]:80")], "[2001:db8::1]:80");
        check("127.0.0.1", &[(FOR, "::ffff:192.0.2.1")], "192.0.2.1");
        check("fd12::1", &[(FOR, "192.0.2.1, 10.1.2.3")], "192.0.2.1");
        // Several lines are one list.
        check("127.0.0.1", &[(FOR, "192.0.2.1"), (FOR, "10.1.2.3")], "192.0.2.1");
        // All of them are proxies: the first is the client.
        check("127.0.0.1", &[(FOR, "10.0.0.1, 10.0.0.2")], "10.0.0.1");
    }

    #[test]
    fn a_client_cannot_make_up_its_address() {
        let proxies = proxies();
        let check = |peer, rows: &[_], expected| check_client(&proxies, peer, rows, expected);
        // Without a proxy.
        check("192.0.2.9:1", &[(FOR, "127.0.0.1")], "192.0.2.9:1");
        check("11.0.0.1", &[(FOR, "192.0.2.1")], "11.0.0.1");
        check("[fe00::1]:1", &[(FOR, "10.0.0.1"), ("forwarded", "for=10.0.0.1")], "[fe00::1]:1");
        // Before what the proxy has appended.
        check("127.0.0.1", &[(FOR, "10.0.0.1, 192.0.2.9")], "192.0.2.9");
        check("127.0.0.1", &[(FOR, "198.51.100.1, 192.0.2.9")], "192.0.2.9");
        check("127.0.0.1", &[(FOR, "127.0.0.1"), (FOR, "192.0.2.9")], "192.0.2.9");
        check("127.0.0.1", &[(FOR, "\"198.51.100.1, 192.0.2.9")], "192.0.2.9");
        check("127.0.0.1", &[(FOR, "198.51.100.1,, 192.0.2.9, 10.0.0.1")], "192.0.2.9");
        // Behind something that is no address, nothing is believed.
        check("127.0.0.1", &[(FOR, "198.51.100.1, unknown, 10.0.0.1")], "10.0.0.1");
        check("127.0.0.1", &[(FOR, "198.51.100.1, , 10.0.0.1")], "10.0.0.1");
        check("127.0.0.1:9", &[(FOR, "x")], "127.0.0.1:9");
        // In headers that the proxy does not set.
        check("127.0.0.1:9", &[("forwarded", "for=198.51.100.1")], "127.0.0.1:9");
        check("127.0.0.1:9", &[("x-real-ip", "198.51.100.1")], "127.0.0.1:9");
    }

    #[test]
    fn the_standard_header_is_read_in_its_place() {
        let proxies = proxies().forwarded();
        let check = |rows: &[_], expected| check_client(&proxies, "127.0.0.1:9", rows, expected);
        let forwarded = |value| [("forwarded", value)];
        check(&forwarded("for=192.0.2.1"), "192.0.2.1");
        check(
            &forwarded("For=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.1"),
            "[2001:db8::1]:4711",
        );
        check(&forwarded("for=198.51.100.1, for=192.0.2.9;host=a, for=10.0.0.1"), "192.0.2.9");
        check(&forwarded("for=\"198.51.100.1, for=192.0.2.9"), "192.0.2.9");
        // A host of the client, which the proxy quotes.
        for host in ["a,for=6.6.6.6;proto=https", "a;for=6.6.6.6", r#"a\",for=6.6.6.6;b=\""#] {
            for element in [
                format!("for=192.0.2.1;host=\"{host}\""),
                format!("host=\"{host}\";for=192.0.2.1"),
                format!("by=\", host=\"{host}\";for=192.0.2.1"),
            ] {
                check_client(&proxies, "127.0.0.1:9", &[("forwarded", &*element)], "192.0.2.1");
            }
        }
        check(&forwarded("for=_hidden"), "127.0.0.1:9");
        check(&forwarded("proto=https"), "127.0.0.1:9");
        check(&[(FOR, "198.51.100.1")], "127.0.0.1:9");
    }

    #[test]
    fn only_a_proxy_may_name_the_host() {
        let check = |proxies: &TrustedProxies, peer: &str, rows: &[_], expected: Option<&str>| {
            let (peer, headers) = (parse_node(peer).unwrap(), headers(rows));
            assert_eq!(proxies.host(peer, &headers), expected, "{rows:?}");
        };
        let host = |value| [("x-forwarded-host", value), ("forwarded", "host=other")];
        check(&proxies(), "127.0.0.1", &host("example.com:8443"), Some("example.com:8443"));
        check(&proxies(), "192.0.2.1", &host("example.com"), None);
        check(&proxies(), "127.0.0.1", &[], None);
        check(&proxies().forwarded(), "10.9.9.9", &host("example.com"), Some("other"));
        check(&proxies().forwarded(), "11.9.9.9", &host("example.com"), None);
        // The client makes up a host, and the proxy appends.
        check(&proxies(), "127.0.0.1", &host("evil, example.com"), Some("example.com"));
        check(&proxies(), "127.0.0.1", &host("evil, "), None);
        let lines = [("x-forwarded-host", "evil"), ("x-forwarded-host", "example.com")];
        check(&proxies(), "127.0.0.1", &lines, Some("example.com"));
        // The first of two proxies appends, and the second one passes on.
        let passed_on =
            [(FOR, "evil, 192.0.2.1, 10.0.0.1"), ("x-forwarded-host", "evil, example.com")];
        check(&proxies(), "127.0.0.1", &passed_on, Some("example.com"));
        // Two proxies add an element each. The host of the client is beside its address.
        let forwarded = |value| [("forwarded", value)];
        let appended =
            "for=evil;host=evil, for=192.0.2.1;host=example.com, for=10.0.0.1;host=inner";
        let checks = [
            (appended, Some("example.com")),
            ("for=10.0.0.9;host=evil, for=192.0.2.1;host=example.com", Some("example.com")),
            ("for=10.0.0.9;host=evil, for=192.0.2.1", None),
            ("for=192.0.2.1;host=evil, for=unknown;host=example.com", Some("example.com")),
            ("for=192.0.2.1;host=evil, host=example.com", Some("example.com")),
        ];
        for (value, expected) in checks {
            check(&proxies().forwarded(), "127.0.0.1", &forwarded(value), expected);
        }
    }

    #[test]
    fn only_a_proxy_may_name_the_scheme() {
        let check = |proxies: &TrustedProxies, peer: &str, rows: &[_], expected: Option<bool>| {
            let (peer, headers) = (parse_node(peer).unwrap(), headers(rows));
            assert_eq!(proxies.is_secure(peer, &headers), expected, "{rows:?}");
        };
        let proto = |value| [("x-forwarded-proto", value), ("forwarded", "proto=http")];
        check(&proxies(), "127.0.0.1", &proto("https"), Some(true));
        check(&proxies(), "127.0.0.1", &proto("HTTPS"), Some(true));
        check(&proxies(), "127.0.0.1", &proto("wss"), Some(true));
        // The client makes up a scheme, and the proxy appends.
        check(&proxies(), "127.0.0.1", &proto("https, http"), Some(false));
        check(&proxies(), "127.0.0.1", &proto("http, https"), Some(true));
        check(&proxies(), "127.0.0.1", &proto("https, "), None);
        check(&proxies(), "127.0.0.1", &proto("httpss"), Some(false));
        check(&proxies(), "127.0.0.1", &proto(""), None);
        check(&proxies(), "127.0.0.1", &[], None);
        check(&proxies(), "192.0.2.1", &proto("https"), None);
        let forwarded = [("forwarded", "for=192.0.2.1;proto=https"), ("x-forwarded-proto", "http")];
        check(&proxies().forwarded(), "10.9.9.9", &forwarded, Some(true));
        check(&proxies().forwarded(), "11.9.9.9", &forwarded, None);
        check(&proxies().forwarded(), "10.9.9.9", &proto("https"), Some(false));
    }

    #[test]
    fn networks_are_parsed_and_contain_their_addresses() {
        let check = |network: &str, address: &str, expected: Option<bool>| {
            let contains =
                Network::parse(network).map(|network| network.contains(address.parse().unwrap()));
            assert_eq!(contains, expected, "{network} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", Some(true));
        check("10.0.0.0/8", "::ffff:10.0.0.1", Some(true));
        check("10.1.2.3/8", "10.9.9.9", Some(true));
        check("10.0.0.0/8", "11.0.0.1", Some(false));
        check("0.0.0.0/0", "192.0.2.1", Some(true));
        check("0.0.0.0/0", "2001:db8::1", Some(false));
        check("::/0", "2001:db8::1", Some(true));
        check("::/0", "192.0.2.1", Some(true));
        check("2001:db8::/32", "2001:db9::1", Some(false));
        check("::1", "::1", Some(true));
        check("::1", "::2", Some(false));
        for invalid in ["", "a", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129"] {
            check(invalid, "::1", None);
            let error = TrustedProxies::new([invalid]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{invalid}`")), "{error}");
        }
    }
}
