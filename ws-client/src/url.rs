//! Which HTTP URL does a `ws` or `wss` URL stand for, and with which credentials?

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::{ParseError, Url};
use ws_core::redact::Redacted;

use crate::error::InvalidUrl;

/// The URL of a WebSocket, with the scheme `http` or `https`.
#[derive(Clone)]
pub(crate) struct HttpUrl {
    /// Has no user, password or fragment.
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
    /// The zone of an IPv6 address, which no server gets to see.
    zone: Option<Box<str>>,
}

/// Masks secrets.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUrl")
            .field("url", &Redacted(self.url.as_str()))
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl HttpUrl {
    /// Parses a `ws`, `wss`, `http` or `https` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (url, zone) = split_zone(url)?;
        let url = Url::parse(&url)?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        Self::from_url(url, zone)
    }

    /// Resolves a `Location` header against this URL. Drops its fragment.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let (location, zone) = split_zone(location)?;
        let mut url = self.url.join(&location)?;
        url.set_fragment(None);
        // The server knows no zone, so its `Location` has none.
        let same_host = url.host() == self.url.host();
        Self::from_url(url, zone.or_else(|| self.zone.clone().filter(|_| same_host)))
    }

    /// Takes the credentials of `other`, unless this URL has its own.
    pub(crate) fn inherit_credentials(&mut self, other: &Self) {
        if self.authorization.is_none() {
            self.authorization.clone_from(&other.authorization);
        }
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// The same URL, as the target of a request.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Basic authentication with the user and the password of the URL, if it has any.
    pub(crate) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The zone of an IPv6 address (RFC 6874).
    pub(crate) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Do both lead to the same host?
    pub(crate) fn has_host_of(&self, other: &Self) -> bool {
        self.url.host() == other.url.host() && self.zone == other.zone
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    fn from_url(mut url: Url, zone: Option<Box<str>>) -> Result<Self, InvalidUrl> {
        let scheme = match url.scheme() {
            "ws" | "http" => "http",
            "wss" | "https" => "https",
            _ => return Err(InvalidUrl::scheme(&url)),
        };
        let authorization = basic(&url);
        // The setters fail only for URLs without a host, and these schemes require one.
        let _ = url.set_scheme(scheme);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let uri = url.as_str().parse().or(Err(InvalidUrl::Uri))?;
        Ok(Self { url, uri, authorization, zone })
    }
}

/// Takes the zone out of a URL such as `ws://[fe80::1%25eth0]/` (RFC 6874), which `Url` rejects.
fn split_zone(url: &str) -> Result<(Cow<'_, str>, Option<Box<str>>), InvalidUrl> {
    let found = || {
        let (scheme, rest) = url.split_once("//")?;
        let is_scheme =
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" :+-.".contains(&byte));
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).filter(|_| is_scheme)?;
        let (before, host) = authority.rsplit_once('[')?;
        let (host, port) = host.split_once(']')?;
        let (address, zone) = host.split_once("%25")?;
        Some((zone, format!("{scheme}//{before}[{address}]{port}{path}")))
    };
    let Some((zone, without)) = found() else { return Ok((Cow::Borrowed(url), None)) };
    let zone = percent_decode_str(zone).decode_utf8_lossy();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if zone.is_empty() || !zone.bytes().all(is_legal) {
        return Err(ParseError::InvalidIpv6Address.into());
    }
    Ok((Cow::Owned(without), Some(zone.into())))
}

/// Basic authentication (RFC 7617) with the user and the password of a URL.
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_http_urls() {
        let check = |url: &str, expected: &str| {
            let parsed = HttpUrl::parse(url).unwrap();
            assert_eq!(parsed.url().as_str(), expected, "{url}");
            assert_eq!(parsed.uri(), expected, "{url}");
        };
        check("ws://example.com", "http://example.com/");
        check("ws://example.com:80/chat?room=1", "http://example.com/chat?room=1");
        check("wss://example.com:443/chat", "https://example.com/chat");
        check("wss://example.com:80", "https://example.com:80/");
        check("http://[::1]:8080/a b", "http://[::1]:8080/a%20b");
        check("https://EXAMPLE.com?x=`{}|'", "https://example.com/?x=`{}|%27");
        check("WS://Bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC");
        check("ws://user:secret@example.com/%23", "http://example.com/%23");
    }

    #[test]
    fn the_zone_of_an_address_is_taken_apart() {
        let check = |url: &str, expected: &str, zone: Option<&str>| {
            let parsed = HttpUrl::parse(url).unwrap();
            assert_eq!((parsed.url().as_str(), parsed.zone()), (expected, zone), "{url}");
            assert_eq!(parsed.uri(), expected, "{url}");
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
            assert_eq!(from.join(location).unwrap().zone(), zone, "{location}");
        }
    }

    #[test]
    fn other_urls_are_rejected() {
        let check = |url: &str, expected: &str| {
            let error = HttpUrl::parse(url).unwrap_err();
            assert!(error.to_string().contains(expected), "{url}: {error}");
        };
        for relative in ["", "/chat", "example.com/chat", "//example.com", "ws://", "ws://:80"] {
            check(relative, "absolute URL");
        }
        for malformed in ["ws://a b", "ws://[::1", "ws://example.com:65536", "ws://1.2.3.256"] {
            check(malformed, "absolute URL");
        }
        check(&format!("ws://a/{}", "b".repeat(64 * 1024)), "HTTP request target");
        check("ftp://example.com", "`ftp`");
        check("localhost:8080", "`localhost`");
        check("ws+unix:/run/socket", "`ws+unix`");
        // What looks like a scheme is a user.
        check("ann:secret@example.com", "absolute URL");
        check("ws://example.com/#", "%23");
        check("wss://example.com/chat#room", "%23");
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
        check("ws://user@example.com", Some("user:"));
        check("ws://:secret@example.com", Some(":secret"));
        check("ws://user:pass+word@example.com", Some("user:pass+word"));
        check("ws://a%40b:p%3a%2Fw@example.com", Some("a@b:p:/w"));
        check("ws://ü:%e2%82%ac@example.com", Some("ü:€"));
    }
}
