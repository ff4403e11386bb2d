//! Which proxy is used for a URL?

use std::env;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::native::url::{parse_port, split_scheme};
use crate::{InvalidUrl, ProxyError};

#[derive(Clone, Debug)]
pub(crate) struct ProxyRules {
    source: ProxySource,
    /// The hosts that a fixed proxy is not used for.
    except: String,
}

/// Where the URL of the proxy comes from.
#[derive(Clone)]
enum ProxySource {
    None,
    Environment(Arc<Matcher>),
    Fixed(Result<String, InvalidUrl>),
}

impl ProxyRules {
    /// Uses one proxy for all servers, except the [exceptions](Self::set_exceptions).
    pub(crate) fn set_fixed(&mut self, url: &str) {
        self.source = ProxySource::Fixed(check(url));
    }

    pub(crate) fn set_none(&mut self) {
        self.source = ProxySource::None;
    }

    /// Sets the hosts that a fixed proxy is not used for.
    pub(crate) fn set_exceptions(&mut self, hosts: &str) {
        hosts.clone_into(&mut self.except);
    }

    /// The proxy for an HTTP URL.
    pub(super) fn for_url(&self, uri: &Uri) -> Result<Option<Intercept>, ProxyError> {
        match &self.source {
            ProxySource::None => Ok(None),
            ProxySource::Environment(matcher) => Ok(matcher.intercept(uri)),
            ProxySource::Fixed(Err(error)) => Err(ProxyError::Url(error.clone())),
            ProxySource::Fixed(Ok(_)) if is_wildcard(&self.except) => Ok(None),
            ProxySource::Fixed(Ok(url)) => {
                let matcher = Matcher::builder().all(url.clone()).no(self.except.clone()).build();
                match matcher.intercept(uri) {
                    // A proxy that the matcher does not know must not mean a direct connection.
                    None if self.except.is_empty() => Err(ProxyError::Url(InvalidUrl::Uri)),
                    intercept => Ok(intercept),
                }
            }
        }
    }
}

/// The proxies of the environment at this time.
impl Default for ProxyRules {
    fn default() -> Self {
        let exceptions = env::var("NO_PROXY").or_else(|_| env::var("no_proxy"));
        let source = match exceptions {
            Ok(exceptions) if is_wildcard(&exceptions) => ProxySource::None,
            exceptions => {
                let exceptions = exceptions.unwrap_or_default();
                ProxySource::Environment(Arc::new(matcher_of_environment(exceptions)))
            }
        };
        Self { source, except: String::new() }
    }
}

/// A `Matcher` ignores a proxy with another case of `socks5`, which would mean a direct connection.
/// If a variable has one, the settings of macOS and Windows do not add to the environment.
fn matcher_of_environment(exceptions: String) -> Matcher {
    let variables = ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"];
    let given = variables.map(|name| {
        env::var(name).or_else(|_| env::var(name.to_ascii_lowercase())).unwrap_or_default()
    });
    let lower = given.clone().map(with_lower_scheme);
    // In CGI, the variables may come from a client, and the matcher has no proxies.
    if lower == given || env::var_os("REQUEST_METHOD").is_some() {
        return Matcher::from_system();
    }
    let [all, http, https] = lower;
    Matcher::builder().all(all).http(http).https(https).no(exceptions).build()
}

fn with_lower_scheme(url: String) -> String {
    let lower = url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    match lower {
        Some((scheme, rest)) if scheme.starts_with("socks") => format!("{scheme}://{rest}"),
        _ => url,
    }
}

/// Omits the URL, which may contain a password.
impl fmt::Debug for ProxySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Environment(_) => "Environment(..)",
            Self::Fixed(_) => "Fixed(..)",
        })
    }
}

/// Is `*` one of the exceptions? For a `Matcher`, `*` matches all names but no address.
fn is_wildcard(exceptions: &str) -> bool {
    exceptions.split(',').any(|host| host.trim() == "*")
}

/// The URL of a proxy, with its scheme in lower case. A `Matcher` would silently ignore an invalid one,
/// or another case of `socks5`.
fn check(url: &str) -> Result<String, InvalidUrl> {
    let (scheme, rest) = split_scheme(url)?;
    let lower = scheme.to_ascii_lowercase();
    match &*lower {
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => {}
        _ => return Err(InvalidUrl::scheme(scheme, rest)),
    }
    if !rest.starts_with("//") {
        return Err(InvalidUrl::Relative);
    }
    // The connectors parse the URL as a `Uri`.
    let uri = url.parse::<Uri>().or(Err(InvalidUrl::Uri))?;
    let authority = uri.authority().ok_or(InvalidUrl::Uri)?;
    let server = authority.as_str().rsplit('@').next().unwrap_or_default();
    let port = server.strip_prefix(authority.host()).ok_or(InvalidUrl::Host)?;
    parse_port(port.strip_prefix(':').unwrap_or(port))?;
    if authority.host().is_empty() { Err(InvalidUrl::Host) } else { Ok(format!("{lower}:{rest}")) }
}
