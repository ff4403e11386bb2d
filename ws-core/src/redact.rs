//! Which parts of URLs and headers are secret, and how are they masked?
//!
//! Every `Debug`, `Display` and log line that shows a URL or headers uses this module. These are
//! secret: the user and the password of a URL, each value in its query, its fragment, and the
//! headers `Authorization`, `Proxy-Authorization`, `Cookie`, `Set-Cookie` and
//! `Sec-WebSocket-Protocol`, in which some clients send a token.

use std::fmt::{self, Write as _};

use http::header::{
    AUTHORIZATION, CONTENT_LOCATION, COOKIE, LOCATION, PROXY_AUTHORIZATION, REFERER,
    SEC_WEBSOCKET_PROTOCOL, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::Escaped;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// Prints a value without its secrets: the text of a URL, a [`Uri`], a [`HeaderMap`], or the
/// subprotocols of an offer.
///
/// ```
/// use ws_core::redact::Redacted;
///
/// let url = "wss://ann:secret@example.com/chat?token=secret";
/// assert_eq!(Redacted(url).to_string(), "wss://***@example.com/chat?token=***");
/// ```
#[derive(Clone, Copy)]
pub struct Redacted<T>(pub T);

impl fmt::Display for Redacted<&str> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut masked = String::new();
        self.mask(&mut masked)?;
        // The URL may be of a peer.
        fmt::Display::fmt(&Escaped::new(&masked).uncut(), f)
    }
}

impl Redacted<&str> {
    fn mask(&self, f: &mut String) -> fmt::Result {
        let (rest, fragment) = split(self.0, '#');
        let (rest, query) = split(rest, '?');
        let (scheme, rest) = rest.split_at(rest.find("//").map_or(0, |start| start + 2));
        let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
        f.write_str(scheme)?;
        match authority.rsplit_once('@') {
            Some((_, host)) => write!(f, "{MASK}@{host}{path}")?,
            None => write!(f, "{authority}{path}")?,
        }
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        for (index, pair) in pairs.enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) => write!(f, "{name}={MASK}")?,
                None if pair.is_empty() => {}
                None => f.write_str(MASK)?,
            }
        }
        fragment.map_or(Ok(()), |_| write!(f, "#{MASK}"))
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

impl fmt::Debug for Redacted<&str> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl fmt::Display for Redacted<&Uri> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Redacted(&*self.0.to_string()).fmt(f)
    }
}

impl fmt::Debug for Redacted<&Uri> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Redacted<&HeaderMap> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| (name, Redacted((name, value)))))
            .finish()
    }
}

impl fmt::Debug for Redacted<(&HeaderName, &HeaderValue)> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = self.0;
        let secrets =
            [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE, SEC_WEBSOCKET_PROTOCOL];
        if value.is_sensitive() || secrets.contains(name) {
            return f.write_str(MASK);
        }
        if ![LOCATION, CONTENT_LOCATION, REFERER].contains(name) {
            return value.fmt(f);
        }
        match str::from_utf8(value.as_bytes()) {
            Ok(url) => Redacted(url).fmt(f),
            Err(_) => f.write_str(MASK),
        }
    }
}

/// Subprotocols: shows how many there are.
impl fmt::Debug for Redacted<&[String]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|_| MASK)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_a_url_are_masked() {
        let check = |url: &str, expected: &str| {
            assert_eq!(Redacted(url).to_string(), expected);
            assert_eq!(format!("{:?}", Redacted(url)), format!("{expected:?}"));
        };
        check("", "");
        check("ws://example.com/chat", "ws://example.com/chat");
        check("ws://user@[::1]:80", "ws://***@[::1]:80");
        check("ws://user:pass@word@a/b@c", "ws://***@a/b@c");
        check("ws://user:pass@a\\b?c=d", "ws://***@a\\b?c=***");
        check("ws://user:pass@a?b=c", "ws://***@a?b=***");
        check("//user:pass@a/", "//***@a/");
        check("user:pass@a:443", "***@a:443");
        check("/@user/a?b=c&d=&e&&f=g=h", "/@user/a?b=***&d=***&***&&f=***");
        check("/a?b=c?d=e#f=g", "/a?b=***#***");
        check("/?", "/?");
        check("*", "*");
    }

    #[test]
    fn the_secrets_of_headers_are_masked() {
        let check = |name: &'static str, value: &'static str, expected: &str| {
            let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
            let printed = format!("{:?}", Redacted(&HeaderMap::from_iter(headers)));
            assert_eq!(printed, format!("{{{name:?}: {expected}}}"));
        };
        check("host", "example.com", "\"example.com\"");
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "sec-websocket-protocol",
        ] {
            check(name, "secret", MASK);
        }
        check("location", "/a?b=secret", "\"/a?b=***\"");
        check("referer", "http://user:secret@a/", "\"http://***@a/\"");
        let latin = HeaderValue::from_bytes(b"/\xe9?a=secret").unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, latin)]);
        assert_eq!(format!("{:?}", Redacted(&headers)), "{\"location\": ***}");
        let mut value = HeaderValue::from_static("secret");
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-key"), value)]);
        assert_eq!(format!("{:?}", Redacted(&headers)), "{\"x-key\": ***}");
    }
}
