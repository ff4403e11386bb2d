//! How is a TCP connection to a host made, over IPv6 or IPv4?

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use tokio::net::TcpStream;
use tower::{Service as _, ServiceExt as _};

use crate::error::{DialError, InvalidUrl, has_cause};

/// Connects to a host, from `local` if that is set.
pub(super) async fn connect(
    host: &str,
    port: u16,
    local: Option<IpAddr>,
) -> Result<TcpStream, DialError> {
    let mut connector = HttpConnector::new_with_resolver(GaiResolver::new().map_err(LookupFailed));
    connector.set_nodelay(true);
    connector.set_local_address(local);
    match connector.call(target(format!("{host}:{port}"))?).await {
        Ok(io) => Ok(io.into_inner()),
        Err(error) if has_cause(&error, &|cause| cause.is::<LookupFailed>()) => {
            Err(DialError::Dns(error.into()))
        }
        Err(error) => Err(DialError::Tcp(error.into())),
    }
}

/// The address of a host, for a proxy that takes no names. `v4` restricts it to IPv4.
pub(super) async fn lookup(host: &str, port: u16, v4: bool) -> Result<SocketAddr, DialError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let first = found.and_then(|mut found| {
        let first = found.find(|address| address.is_ipv4() || !v4);
        first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no such address"))
    });
    first.map_err(|error| DialError::Dns(error.into()))
}

/// The target for a connector: a host and a port.
pub(super) fn target(authority: String) -> Result<Uri, DialError> {
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
    Ok(uri.or(Err(InvalidUrl::Uri))?)
}

/// Marks the errors of the resolver, to distinguish them from TCP errors.
#[derive(Debug, thiserror::Error)]
#[error("the resolver found no address")]
struct LookupFailed(#[source] io::Error);
