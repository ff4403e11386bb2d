//! Why is a URL not that of a WebSocket?

use ws_core::Escaped;

/// Why a URL is invalid. The text does not repeat the URL, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is not an absolute URL.
    Relative,
    /// Its host is missing, or neither a name nor an address.
    Host,
    /// Its host contains non-ASCII characters, and the feature `idn` is not enabled.
    NotAscii,
    /// Its port is not a number up to 65535.
    Port,
    /// It is a URL, but not an HTTP request target: for example, it is longer than 64 KiB.
    Uri,
    /// Its scheme is not `ws`, `wss`, `http` or `https`.
    Scheme(Box<str>),
    /// It has a fragment ([RFC 6455 §3]).
    ///
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    Fragment,
}

impl_error!(InvalidUrl {
    Self::Relative => "it is not an absolute URL, such as wss://example.com/chat";
    Self::Host => "its host is invalid";
    Self::NotAscii => "its host is not ASCII: enable the feature `idn` of ws-client, or write it as xn--…";
    Self::Port => "its port is not a number from 0 to 65535";
    Self::Uri => "it is not an HTTP request target";
    Self::Scheme(why) => "its scheme is `{}`, not one of ws, wss, http, https", Escaped::new(&**why);
    Self::Fragment => "it has a fragment, which a WebSocket URL must not have: write # as %23";
});

impl InvalidUrl {
    /// The error of a URL with another scheme. In `user:password@host`, that is the user.
    pub(crate) fn scheme(scheme: &str, rest: &str) -> Self {
        match !rest.starts_with('/') && rest.contains('@') {
            true => Self::Relative,
            false => Self::Scheme(scheme.to_ascii_lowercase().into()),
        }
    }
}
