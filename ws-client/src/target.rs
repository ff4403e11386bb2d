//! What does a URL name?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

/// Where a WebSocket is to be opened, with the scheme by which HTTP goes there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `http` or `https`, without user, password or fragment.
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// Reads a `ws`, `wss`, `http` or `https` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(url)?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        Self::from_url(url)
    }

    /// Where a `Location` leads from here. A fragment in it is for people, and dropped.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let mut url = self.url.join(location)?;
        url.set_fragment(None);
        let mut next = Self::from_url(url)?;
        if next.authorization.is_none() && next.may_know_secrets_of(self) {
            next.authorization.clone_from(&self.authorization);
        }
        Ok(next)
    }

    /// The URL for an HTTP client.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// The URL for a request that is printed.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The user and the password of the URL, if it has any, for basic authentication.
    pub(crate) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Is this the same server, or the same behind TLS, so that what was meant for one may
    /// be told to the other?
    pub(crate) fn may_know_secrets_of(&self, first: &Self) -> bool {
        let (here, there) = (&self.url, &first.url);
        let default_port = |url: &Url| url.port().is_none();
        here.host() == there.host()
            && (here.origin() == there.origin()
                || (self.is_encrypted() && default_port(here) && default_port(there)))
    }

    fn from_url(mut url: Url) -> Result<Self, InvalidUrl> {
        let scheme = match url.scheme() {
            "ws" | "http" => "http",
            "wss" | "https" => "https",
            other => return Err(InvalidUrl::Scheme(other.into())),
        };
        let authorization = basic(&url);
        // These fail for URLs that cannot have a host, which the match has sorted out.
        let _ = url.set_scheme(scheme);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let uri = url.as_str().parse().or(Err(InvalidUrl::Uri))?;
        Ok(Self { url, uri, authorization })
    }
}

/// Why a URL cannot be dialled.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is not an absolute URL.
    #[error("it is not an absolute URL")]
    Parse(#[from] ParseError),
    /// It is a URL, but no HTTP client can ask for it: it is longer than 64 KiB, say.
    #[error("it cannot be asked for by HTTP")]
    Uri,
    /// It has another scheme than `ws`, `wss`, `http` or `https`.
    #[error("its scheme is `{0}`, not one of ws, wss, http, https")]
    Scheme(Box<str>),
    /// It has a fragment ([RFC 6455 §3]).
    ///
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    #[error("it has a fragment, which the URL of a WebSocket may not have: write # as %23")]
    Fragment,
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
    fn urls_name_what_http_asks_for() {
        let check = |url: &str, expected: &str| {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.url().as_str(), expected, "{url}");
            assert_eq!(target.uri(), expected, "{url}");
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
    fn other_urls_are_refused() {
        let check = |url: &str, expected: &str| {
            let error = Target::parse(url).unwrap_err();
            assert!(error.to_string().contains(expected), "{url}: {error}");
        };
        for relative in ["", "/chat", "example.com/chat", "//example.com", "ws://", "ws://:80"] {
            check(relative, "absolute URL");
        }
        for malformed in ["ws://a b", "ws://[::1", "ws://example.com:65536", "ws://1.2.3.256"] {
            check(malformed, "absolute URL");
        }
        check(&format!("ws://a/{}", "b".repeat(64 * 1024)), "by HTTP");
        check("ftp://example.com", "`ftp`");
        check("localhost:8080", "`localhost`");
        check("ws+unix:/run/socket", "`ws+unix`");
        check("ws://example.com/#", "%23");
        check("wss://example.com/chat#room", "%23");
    }

    #[test]
    fn user_and_password_become_basic_authentication() {
        let check = |url: &str, plain: Option<&str>| {
            let target = Target::parse(url).unwrap();
            let value = target.authorization().map(|value| value.to_str().unwrap());
            let expected = plain.map(|plain| format!("Basic {}", BASE64.encode(plain)));
            assert_eq!(value, expected.as_deref(), "{url}");
            assert!(target.authorization().is_none_or(HeaderValue::is_sensitive));
        };
        check("ws://example.com", None);
        check("ws://@example.com", None);
        check("ws://user@example.com", Some("user:"));
        check("ws://:secret@example.com", Some(":secret"));
        check("ws://user:pass+word@example.com", Some("user:pass+word"));
        check("ws://a%40b:p%3a%2Fw@example.com", Some("a@b:p:/w"));
        check("ws://ü:%e2%82%ac@example.com", Some("ü:€"));
    }

    #[test]
    fn locations_lead_on() {
        let from = Target::parse("ws://user@example.com/a/b?x=1").unwrap();
        let check = |location: &str, expected: &str, keeps_secrets: bool| {
            let next = from.join(location).unwrap();
            assert_eq!(next.url().as_str(), expected, "{location}");
            assert_eq!(next.may_know_secrets_of(&from), keeps_secrets, "{location}");
            assert_eq!(next.authorization().is_some(), keeps_secrets, "{location}");
        };
        check("/c", "http://example.com/c", true);
        check("c#top", "http://example.com/a/c", true);
        check("?y=2", "http://example.com/a/b?y=2", true);
        check("ws://example.com:80/c", "http://example.com/c", true);
        check("wss://example.com/c", "https://example.com/c", true);
        check("https://example.com:8443/c", "https://example.com:8443/c", false);
        check("ws://example.com:8080/c", "http://example.com:8080/c", false);
        check("//evil.example/c", "http://evil.example/c", false);
        check("ws://www.example.com/c", "http://www.example.com/c", false);

        let secure = Target::parse("wss://example.com").unwrap();
        assert!(!secure.join("ws://example.com").unwrap().may_know_secrets_of(&secure));
        assert!(from.join("mailto:someone@example.com").is_err());
        let own = from.join("//other@evil.example").unwrap();
        assert_eq!(own.authorization().unwrap(), "Basic b3RoZXI6");
    }
}
