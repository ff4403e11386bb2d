//! Which request opened the connection?

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use http::{Extensions, HeaderMap, Uri, header};

use crate::handshake::{Encrypted, PeerAddr};
use crate::redact::Redacted;

/// The request of the opening handshake, kept for the handler.
///
/// [`Conn::take_request`](crate::conn::Conn::take_request) frees its memory, and
/// [`AcceptOptions::keep_request`](crate::AcceptOptions::keep_request) can turn it off. The
/// connection keeps a compact copy, so the request holds no buffer of the HTTP server; only the
/// extensions are kept as they are.
///
/// ```
/// # let request = ws_core::RequestInfo::default();
/// let room = request.param("room").unwrap_or("lobby");
/// let page = request.query("page").unwrap_or("1".into());
/// let theme = request.cookie("theme").unwrap_or("light");
/// # assert_eq!((room, &*page, theme), ("lobby", "1", "light"));
/// ```
///
/// `Debug` masks secrets, as [`Redacted`] does.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RequestInfo {
    /// The target of the request.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// The path parameters of the router, decoded.
    pub params: Vec<(String, String)>,
    /// The extensions that middleware attached to the request.
    pub extensions: Extensions,
    /// The address of the client: that of the transport, unless the adapter or
    /// [trusted proxies](crate::AcceptOptions::trusted_proxies) name another.
    pub peer_addr: Option<SocketAddr>,
    /// When the server has received it, by the clock of the system. `None` for a request that no
    /// server has received.
    pub received_at: Option<SystemTime>,
    /// Whether the client has sent it over TLS: as
    /// [trusted proxies](crate::AcceptOptions::trusted_proxies) say, or else if it has the extension
    /// [`Encrypted`](crate::handshake::Encrypted). A request to
    /// [`Acceptor::accept`](crate::Acceptor::accept), which has no extensions, is secure only by the
    /// header of a proxy.
    pub secure: bool,
}

impl fmt::Debug for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("uri", &Redacted(&self.uri))
            .field("headers", &Redacted(&self.headers))
            .field("params", &self.params)
            .field("extensions", &self.extensions)
            .field("peer_addr", &self.peer_addr)
            .field("received_at", &self.received_at)
            .field("secure", &self.secure)
            .finish()
    }
}

impl RequestInfo {
    /// From the head of a request that has just arrived. [`PathParams`], [`PeerAddr`] and
    /// [`Encrypted`] are moved from its extensions to their fields.
    pub fn new(head: http::request::Parts) -> Self {
        let mut extensions = head.extensions;
        let params = extensions.remove().map(|PathParams(params)| params).unwrap_or_default();
        let peer_addr = extensions.remove().map(|PeerAddr(addr)| addr);
        let secure = extensions.remove::<Encrypted>().is_some();
        if extensions.is_empty() {
            // Frees the table.
            extensions = Extensions::new();
        }
        let received_at = Some(SystemTime::now());
        let (uri, headers) = (head.uri, head.headers);
        Self { uri, headers, params, extensions, peer_addr, received_at, secure }
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// All headers of this name that are text.
    pub fn header_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// The path parameter of this name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of this key in the query, decoded.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// All values of this key in the query, decoded.
    pub fn query_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.query_pairs().filter_map(move |(name, value)| (name == key).then_some(value))
    }

    fn query_pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// The first cookie of this name ([RFC 6265 §5.4]).
    ///
    /// [RFC 6265 §5.4]: https://www.rfc-editor.org/rfc/rfc6265#section-5.4
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All cookies of this name: there may be one for each path.
    pub fn cookie_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.cookies().filter_map(move |(key, value)| (key == name).then_some(value))
    }

    fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.headers.get_all(header::COOKIE).into_iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
    }

    /// The extension of this type that middleware attached to the request.
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }
}

/// The path parameters of a router, decoded. As an extension of a request, they become
/// [`RequestInfo::params`], for servers whose adapter knows no router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParams(pub Vec<(String, String)>);

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for PathParams {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(params: I) -> Self {
        Self(params.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request_are_found() {
        let request = http::Request::get("/chat?room=a%20b&x=1&room=c")
            .header("cookie", "one=1; two=2")
            .header("cookie", "three=3")
            .header("x-key", "k")
            .header("x-key", "l")
            .header("cookie", "two=more")
            .extension(PathParams::from_iter([("id", "7")]))
            .extension(PeerAddr(([127, 0, 0, 1], 80).into()))
            .extension(Encrypted)
            .extension("a local")
            .body(())
            .unwrap();
        let request = RequestInfo::new(request.into_parts().0);
        assert_eq!(request.query("room").as_deref(), Some("a b"));
        assert_eq!(request.query_all("room").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(request.query("none"), None);
        assert_eq!(request.cookie("two"), Some("2"));
        assert_eq!(request.cookie("three"), Some("3"));
        assert_eq!(request.cookie("four"), None);
        assert_eq!(request.header("X-Key"), Some("k"));
        assert_eq!(request.header_all("x-key").collect::<Vec<_>>(), ["k", "l"]);
        assert_eq!(request.cookie_all("two").collect::<Vec<_>>(), ["2", "more"]);
        assert_eq!(request.param("id"), Some("7"));
        assert_eq!(request.param("no"), None);
        assert_eq!(request.extension(), Some(&"a local"));
        assert_eq!(request.extension::<u8>(), None);
        assert_eq!(request.peer_addr, Some(([127, 0, 0, 1], 80).into()));
        assert!(request.secure);
        assert!(request.received_at.is_some_and(|at| at.elapsed().is_ok()));
        assert_eq!(request.extensions.len(), 1, "what has a field is not kept twice");
    }
}
