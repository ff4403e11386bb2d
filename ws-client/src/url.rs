//! Which HTTP URL does a `ws` or `wss` URL stand for, and with which credentials?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::InvalidUrl;

/// The URL of a WebSocket, with the scheme `http` or `https`.
#[derive(Clone, Debug)]
pub(crate) struct HttpUrl {
    /// Has no user, password or fragment.
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl HttpUrl {
    /// Parses a `ws`, `wss`, `http` or `https` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(url)?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        Self::from_url(url)
    }

    /// Resolves a `Location` header against this URL. Drops its fragment.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let mut url = self.url.join(location)?;
        url.set_fragment(None);
        Self::from_url(url)
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

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    fn from_url(mut url: Url) -> Result<Self, InvalidUrl> {
        let scheme = match url.scheme() {
            "ws" | "http" => "http",
            "wss" | "https" => "https",
            other => return Err(InvalidUrl::Scheme(other.into())),
        };
        let authorization = basic(&url);
        // The setters fail only for URLs without a host, and these schemes require one.
        let _ = url.set_scheme(scheme);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let uri = url.as_str().parse().or(Err(InvalidUrl::Uri))?;
        Ok(Self { url, uri, authorization })
    }
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
