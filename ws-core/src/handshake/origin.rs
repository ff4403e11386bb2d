//! May the web page with this `Origin` connect?

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{HeaderMap, ORIGIN};
use http::uri::Authority;

use super::{Rejection, headers};

/// Which web pages may connect ([RFC 6455 §10.2]). Default: [`same_host`](Self::same_host).
///
/// Browsers allow any page to open a WebSocket to any server and send the server's cookies. The
/// `Origin` header identifies the page, and the page cannot forge it. Other programs send no
/// `Origin`, or any value, so the check does not protect against them. Requests without `Origin`
/// are allowed unless [`refuse_missing`](Self::refuse_missing) is set.
///
/// [RFC 6455 §10.2]: https://www.rfc-editor.org/rfc/rfc6455#section-10.2
#[derive(Clone, Debug)]
#[must_use]
pub struct Origin {
    rule: Rule,
    allow_missing: bool,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The same host and these patterns.
    SameHost(Vec<String>),
    Any,
    Check(Check),
}

impl Origin {
    /// Allows pages over `http` or `https` from the host and port of the request.
    ///
    /// Behind a proxy that changes `Host`, use [`patterns`](Self::patterns), or
    /// [`TrustedProxies`](super::TrustedProxies) if it sends `X-Forwarded-Host`.
    pub const fn same_host() -> Self {
        Self::new(Rule::SameHost(Vec::new()))
    }

    /// Allows pages that match one of these patterns, and pages of the same host.
    ///
    /// `*` matches any characters and `?` any single one. Case is ignored. A pattern matches the
    /// host, with the port unless it is the default of the scheme (`*.example.com`,
    /// `localhost:*`). A pattern with `://` matches the scheme too (`https://*.example.com`,
    /// `tauri://localhost`).
    ///
    /// Pages without a host have the origin `null` (sandboxed frames, and local files in Firefox)
    /// or `file://` (local files in Chromium). Only the patterns `null` and `file://` match them,
    /// and no wildcard does. Any website can show a page whose origin is `null`.
    pub fn patterns(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| pattern.as_ref().to_ascii_lowercase());
        Self::new(Rule::SameHost(patterns.collect()))
    }

    /// Allows every page. Use it only for services that do not authenticate users by cookies or
    /// other credentials that a browser sends by itself.
    pub const fn any() -> Self {
        Self::new(Rule::Any)
    }

    /// Allows pages for which `check` returns `true`. Its arguments are the value of `Origin`,
    /// which may be `null`, and all headers of the request.
    pub fn check(check: impl Fn(&str, &HeaderMap) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Rule::Check(Check(Arc::new(check))))
    }

    /// Rejects requests without `Origin`, which come from programs other than browsers. Default:
    /// they are allowed.
    pub const fn refuse_missing(mut self) -> Self {
        self.allow_missing = false;
        self
    }

    /// Checks whether the page that made the request with these headers may connect.
    /// `host` is what it has asked for.
    pub(super) fn check_headers(
        &self,
        fields: &HeaderMap,
        host: Option<&str>,
    ) -> Result<(), Rejection> {
        let mut origins = fields.get_all(ORIGIN).into_iter();
        let first = origins.next();
        let allowed = match (first, &self.rule) {
            (None, _) if self.allow_missing => true,
            (None, _) => return Err(Rejection::OriginMissing),
            (Some(_), Rule::Any) => true,
            (Some(_), _) if origins.next().is_some() => return Err(Rejection::OriginRepeated),
            (Some(origin), Rule::Check(Check(check))) => {
                origin.to_str().is_ok_and(|origin| check(origin, fields))
            }
            (Some(origin), Rule::SameHost(patterns)) => match PageOrigin::parse(origin) {
                Some(page) => {
                    host.is_some_and(|host| page.is_at(host))
                        || patterns.iter().any(|pattern| page.matches(pattern))
                }
                None => WITHOUT_HOST.iter().any(|known| {
                    origin == known && patterns.iter().any(|pattern| pattern == known)
                }),
            },
        };
        match allowed {
            true => Ok(()),
            false => Err(Rejection::origin_refused(first, host)),
        }
    }

    const fn new(rule: Rule) -> Self {
        Self { rule, allow_missing: true }
    }
}

impl_default!(Origin, Self::same_host());

/// The headers of an ordinary GET with the `Origin` that a handshake of the same page would have.
///
/// A browser sends no `Origin` with a GET to the host of the page, but a `Referer`. `None` if that
/// names no page on the web, or if the user has followed a link to here: no page asks then.
#[cfg(feature = "conn")]
pub(super) fn with_origin_of_page(fields: &HeaderMap) -> Option<HeaderMap> {
    let is_link = fields.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    if is_link || fields.contains_key(ORIGIN) {
        return None;
    }
    let (scheme, rest) = fields.get(http::header::REFERER)?.to_str().ok()?.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    default_port(scheme)?;
    let origin = HeaderValue::from_str(&format!("{scheme}://{authority}")).ok()?;
    let mut fields = fields.clone();
    fields.try_insert(ORIGIN, origin).ok()?;
    Some(fields)
}

/// The origins of pages without a host.
const WITHOUT_HOST: [&str; 2] = ["null", "file://"];

type Decide = dyn Fn(&str, &HeaderMap) -> bool + Send + Sync;

/// A function that allows or rejects an origin.
#[derive(Clone)]
struct Check(Arc<Decide>);

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check(..)")
    }
}

/// The origin of a page: the parsed value of an `Origin` header.
struct PageOrigin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// `None` for the default of the scheme.
    port: Option<u16>,
}

impl<'a> PageOrigin<'a> {
    fn parse(origin: &'a HeaderValue) -> Option<Self> {
        let (scheme, rest) = origin.to_str().ok()?.split_once(':')?;
        let authority = rest.strip_prefix("//")?;
        headers::token(scheme.as_bytes())?;
        // Browsers send no trailing slash, but some programs do.
        let (host, port) = host_and_port(authority.strip_suffix('/').unwrap_or(authority))?;
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        Some(Self { scheme, host, port })
    }

    /// Whether a request to this host was sent to this origin. Without a port in the request, the
    /// default of the page's scheme is assumed: the scheme of the request is not known.
    fn is_at(&self, host: &str) -> bool {
        let Some(default) = default_port(self.scheme) else { return false };
        let Some((host, port)) = host_and_port(host) else { return false };
        self.host.eq_ignore_ascii_case(host)
            && self.port.unwrap_or(default) == port.unwrap_or(default)
    }

    fn matches(&self, pattern: &str) -> bool {
        let Self { scheme, host, port } = self;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = match pattern.contains("://") {
            true => format!("{scheme}://{host}{port}"),
            false => format!("{host}{port}"),
        };
        glob(pattern.as_bytes(), text.to_ascii_lowercase().as_bytes())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |other| scheme.eq_ignore_ascii_case(other);
    if is("http") { Some(80) } else { is("https").then_some(443) }
}

/// Splits `host` or `host:port`. `None` if it has another form.
pub(super) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = split_common(authority).or_else(|| split_any(authority))?;
    let port = match port {
        "" | ":" => None,
        port => {
            let port = port.strip_prefix(':')?;
            // `parse` takes a sign, too.
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.then(|| port.parse().ok())??)
        }
    };
    if let Some(address) = host.strip_prefix('[') {
        let is_legal = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
        let address = address.strip_suffix(']').filter(|address| address.bytes().all(is_legal))?;
        // The shortest IPv6 address is `::`.
        address.matches(':').nth(1)?;
    }
    (!host.is_empty()).then_some((host, port))
}

/// Splits an authority behind its host, which must be its beginning.
fn split_any(authority: &str) -> Option<(&str, &str)> {
    let parsed: Authority = authority.parse().ok()?;
    let port = authority.strip_prefix(parsed.host())?;
    Some((authority.strip_suffix(port)?, port))
}

/// As [`split_any`], for a name or an IPv4 address of plain letters, with or without a port. `None` for
/// any other form. `Authority` takes this form too, but allocates.
fn split_common(authority: &str) -> Option<(&str, &str)> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let end = authority.bytes().position(|byte| !is_of_name(byte)).unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(end)?;
    let is_port = port.strip_prefix(':').unwrap_or(port).bytes().all(|byte| byte.is_ascii_digit());
    (is_port && !host.is_empty()).then_some((host, port))
}

/// Whether the whole text matches the pattern.
fn glob(mut pattern: &[u8], mut text: &[u8]) -> bool {
    // The pattern behind the last `*`, and the text where it was last tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, text) {
            ([b'*', after @ ..], _) => {
                retry = Some((after, text));
                pattern = after;
            }
            ([b'?', after @ ..], [_, rest @ ..]) => (pattern, text) = (after, rest),
            ([wanted, after @ ..], [byte, rest @ ..]) if wanted == byte => {
                (pattern, text) = (after, rest);
            }
            ([], []) => return true,
            _ => {
                let Some((after, [_, rest @ ..])) = retry else { return false };
                retry = Some((after, rest));
                (pattern, text) = (after, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header::HOST;
    use proptest::prelude::*;

    use super::super::HandshakeRequest;
    use super::*;

    fn check(policy: &Origin, host: &str, origin: &str) -> Result<(), Rejection> {
        let request = Request::get("/chat").header(HOST, host).header(ORIGIN, origin);
        judge(policy, &request.body(()).unwrap())
    }

    fn judge(policy: &Origin, request: &Request<()>) -> Result<(), Rejection> {
        let request = HandshakeRequest::from(request);
        policy.check_headers(request.headers(), request.host())
    }

    fn is_refused(judged: &Result<(), Rejection>) -> bool {
        matches!(judged, Err(Rejection::OriginRefused { .. }))
    }

    #[test]
    fn the_same_host_is_the_same_host_and_port() {
        let check = |host: &str, origin: &str, allowed: bool| {
            let judged = check(&Origin::same_host(), host, origin);
            assert_eq!(is_refused(&judged), !allowed, "{origin} to {host}");
            assert_eq!(judged.is_ok(), allowed, "{origin} to {host}");
        };
        check("example.com", "http://example.com", true);
        check("example.com", "https://example.com", true);
        check("EXAMPLE.com", "HTTPS://example.COM", true);
        check("example.com:80", "http://example.com", true);
        check("example.com:443", "https://example.com", true);
        check("example.com", "https://example.com:443", true);
        check("example.com:", "http://example.com/", true);
        check("example.com:8080", "http://example.com:8080", true);
        check("[::1]:3000", "http://[::1]:3000", true);

        check("example.com:443", "http://example.com", false);
        check("example.com", "http://example.com:443", false);
        check("example.com:8080", "http://example.com", false);
        check("example.com", "http://example.com:8080", false);
        check("example.com", "http://example.org", false);
        check("example.com", "http://www.example.com", false);
        check("example.com", "http://example.com.evil.org", false);
        check("localhost", "tauri://localhost", false);
        check("[::1]:3000", "http://[::2]:3000", false);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for origin in [
            "null",
            "",
            "example.com",
            "//example.com",
            "://example.com",
            "http://",
            "http://:80",
            "http:///",
            "http://example.com/chat",
            "http://example.com//",
            "http://example.com?x",
            "http://user@example.com",
            "http://example.com@example.com",
            "http://example.com:80@example.com",
            "http://example.com:99999",
            "http://example.com:x",
            "http://example.com:+80",
            "http://[example.com]",
            "file://",
            "file:///",
            "NULL",
            "http://example.com http://example.com",
            "http://exämple.com",
        ] {
            for policy in [Origin::same_host(), Origin::patterns(["*"])] {
                let judged = check(&policy, "example.com", origin);
                assert!(is_refused(&judged), "{origin}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_common_authority_is_split_as_any_other(authority in "[a-zA-Z0-9.-]{0,3}[a-z0-9:@%/ü]{0,4}") {
            if let Some(split) = split_common(&authority) {
                prop_assert_eq!(Some(split), split_any(&authority));
            }
        }
    }

    #[test]
    fn names_and_addresses_are_common() {
        for authority in ["example.com", "a-b.example:8080", "127.0.0.1:80", "localhost:"] {
            assert_eq!(split_common(authority), split_any(authority), "{authority}");
            assert!(split_common(authority).is_some(), "{authority}");
        }
        for authority in ["", ":80", "[::1]:80", "user@a", "a:b", "a:1:2", "a_b"] {
            assert_eq!(split_common(authority), None, "{authority}");
        }
    }

    #[test]
    fn patterns_add_to_the_same_host() {
        let check = |pattern: &str, origin: &str, allowed| {
            let judged = check(&Origin::patterns([pattern]), "here.example", origin);
            assert_eq!(judged.is_ok(), allowed, "{origin} by {pattern}");
        };
        check("example.com", "http://here.example", true);
        check("example.com", "https://example.com", true);
        check("Example.com", "https://EXAMPLE.com:443", true);
        check("*.example.com", "http://a.b.example.com", true);
        check("localhost:*", "http://localhost:3000", true);
        check("host-?.example", "http://host-1.example", true);
        check("https://*.example.com", "https://a.example.com", true);
        check("tauri://localhost", "tauri://localhost", true);
        check("*", "chrome-extension://abcdef", true);

        check("example.com", "https://example.com:8443", false);
        check("*.example.com", "http://example.com", false);
        check("*.example.com", "http://a.example.com.evil.org", false);
        check("*.example.com", "http://a.example.com:81", false);
        check("host-?.example", "http://host-.example", false);
        check("https://*.example.com", "http://a.example.com", false);
        check("", "http://example.com", false);
    }

    #[test]
    fn pages_without_a_host_match_only_their_own_pattern() {
        let check = |pattern: &str, origin: &str, allowed| {
            let judged = check(&Origin::patterns([pattern]), "here.example", origin);
            assert_eq!(judged.is_ok(), allowed, "{origin} by {pattern}");
        };
        check("null", "null", true);
        check("NULL", "null", true);
        check("file://", "file://", true);
        check("null", "http://null", true);
        for pattern in ["*", "*://*", "n*", "nul?", "file://*", "file", "", "file:///"] {
            check(pattern, "null", false);
            check(pattern, "file://", false);
        }
        check("null", "file://", false);
        check("file://", "null", false);
        check("null", "Null", false);
    }

    #[test]
    fn stars_try_every_length() {
        let check = |pattern: &str, text: &str, matches| {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), matches, "{text} by {pattern}");
        };
        check("", "", true);
        check("*", "", true);
        check("**", "ab", true);
        check("a*b*c", "aXbXbXc", true);
        check("a*bc", "abcbc", true);
        check("*?", "a", true);
        check("a*bc", "abcb", false);
        check("a", "", false);
        check("?", "", false);
        check("a*a*a*a*a*a*a*a*b", &"a".repeat(200), false);
    }

    #[test]
    fn a_missing_origin_is_allowed_unless_refused() {
        let missing = Request::get("/chat").header(HOST, "example.com").body(()).unwrap();
        for policy in [Origin::default(), Origin::any(), Origin::check(|_, _| false)] {
            assert_eq!(judge(&policy, &missing), Ok(()));
            assert_eq!(judge(&policy.refuse_missing(), &missing), Err(Rejection::OriginMissing));
        }
    }

    #[test]
    fn a_repeated_origin_is_refused() {
        let here = "http://example.com";
        let repeated = Request::get("/chat").header(ORIGIN, here).header(ORIGIN, here);
        let repeated = repeated.header(HOST, "example.com").body(()).unwrap();
        for policy in [Origin::default(), Origin::check(|_, _| true)] {
            assert_eq!(judge(&policy, &repeated), Err(Rejection::OriginRepeated));
        }
        assert_eq!(judge(&Origin::any(), &repeated), Ok(()));
    }

    #[test]
    fn functions_decide_by_origin_and_headers() {
        let policy = Origin::check(|origin, headers| {
            origin == "null" && headers.get(HOST).is_some_and(|host| host == "example.com")
        });
        assert_eq!(check(&policy, "example.com", "null"), Ok(()));
        assert!(check(&policy, "example.org", "null").is_err());
        assert!(check(&policy, "example.com", "http://example.com").is_err());
        assert_eq!(check(&Origin::any(), "example.com", "null"), Ok(()));
    }

    #[test]
    fn an_absolute_target_says_the_host() {
        let request = Request::get("http://example.com/chat").header(HOST, "other.example");
        let request = request.header(ORIGIN, "http://example.com").body(()).unwrap();
        assert_eq!(judge(&Origin::default(), &request), Ok(()));
    }
}
