//! Which proxy is in the way to a server?

use std::env;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use url::Url;

use super::ProxyError;
use crate::InvalidUrl;

/// Which servers are behind which proxy?
#[derive(Clone)]
pub(crate) enum Proxies {
    None,
    Environment(Arc<Matcher>),
    One { url: Result<String, InvalidUrl>, except: String },
}

impl Proxies {
    /// One for all servers.
    pub(crate) fn one(url: &str) -> Self {
        Self::One { url: check(url).map(|()| url.to_owned()), except: String::new() }
    }

    /// The hosts that are reached without the one that was set.
    pub(crate) fn set_exceptions(&mut self, hosts: &str) {
        if let Self::One { except, .. } = self {
            hosts.clone_into(except);
        }
    }

    /// The proxy on the way to this URL of HTTP.
    pub(super) fn intercept(&self, uri: &Uri) -> Result<Option<Intercept>, ProxyError> {
        match self {
            Self::None => Ok(None),
            Self::Environment(matcher) => Ok(matcher.intercept(uri)),
            Self::One { url: Err(error), .. } => Err(ProxyError::Url(error.clone())),
            Self::One { except, .. } if is_everybody(except) => Ok(None),
            Self::One { url: Ok(url), except } => {
                let matcher = Matcher::builder().all(url.clone()).no(except.clone()).build();
                Ok(matcher.intercept(uri))
            }
        }
    }
}

/// Those of the environment, as it is now.
impl Default for Proxies {
    fn default() -> Self {
        let exceptions = env::var("NO_PROXY").or_else(|_| env::var("no_proxy"));
        match exceptions {
            Ok(exceptions) if is_everybody(&exceptions) => Self::None,
            _ => Self::Environment(Arc::new(Matcher::from_system())),
        }
    }
}

/// A URL may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Environment(matcher) => f.debug_tuple("Environment").field(matcher).finish(),
            Self::One { except, .. } => {
                f.debug_struct("One").field("except", except).finish_non_exhaustive()
            }
        }
    }
}

/// Are all hosts excepted? To a matcher, `*` is all names, and no address.
fn is_everybody(exceptions: &str) -> bool {
    exceptions.split(',').any(|host| host.trim() == "*")
}

/// Is it the URL of a proxy? What is not would silently be none.
fn check(url: &str) -> Result<(), InvalidUrl> {
    let parsed = Url::parse(url)?;
    match parsed.scheme() {
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => {}
        other => return Err(InvalidUrl::Scheme(other.into())),
    }
    // Those who go there read it in a way of their own.
    let uri = url.parse::<Uri>().or(Err(InvalidUrl::Uri))?;
    if parsed.has_host() && uri.host().is_some() { Ok(()) } else { Err(InvalidUrl::Uri) }
}
