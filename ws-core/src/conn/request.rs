//! What did the request say that became this connection?

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{Extensions, HeaderMap, Uri, header};

/// The request that a connection began with, kept for its handler.
///
/// What it holds can be given back with
/// [`Conn::take_request`](super::Conn::take_request).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestInfo {
    /// The target of the request.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// The parameters that the router found in the path.
    pub params: Vec<(String, String)>,
    /// What middleware attached to the request.
    pub extensions: Extensions,
    /// The address at the other end of the transport.
    pub peer_addr: Option<SocketAddr>,
}

impl RequestInfo {
    /// What the head of a request says.
    pub fn new(head: http::request::Parts) -> Self {
        Self {
            uri: head.uri,
            headers: head.headers,
            extensions: head.extensions,
            ..Self::default()
        }
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
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

    /// The cookie of this name ([RFC 6265 §5.4]).
    ///
    /// [RFC 6265 §5.4]: https://www.rfc-editor.org/rfc/rfc6265#section-5.4
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.get_all(header::COOKIE).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_cookies_and_headers_are_found() {
        let request = http::Request::get("/chat?room=a%20b&x=1&room=c")
            .header("cookie", "one=1; two=2")
            .header("cookie", "three=3")
            .header("x-key", "k")
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
        assert_eq!(request.param("id"), None);
    }
}
