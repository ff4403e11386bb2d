//! How is a TCP connection to a host made, over all of its addresses?

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::native::error::DialError;
use crate::native::transport::happy_eyeballs::race;
use crate::native::transport::settings::TransportConfig;

/// A host with a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    /// A name or an address; an IPv6 address may have brackets.
    pub(super) name: &'a str,
    /// The zone of an IPv6 address (RFC 4007 §11).
    pub(super) zone: Option<&'a str>,
    pub(super) port: u16,
}

/// The host and the port, without a zone, which has a meaning on this machine only.
impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// Connects to a host, from the local address of the settings.
pub(super) async fn connect(
    host: Host<'_>,
    config: &TransportConfig,
) -> Result<TcpStream, DialError> {
    let local = config.local_address;
    let mut addresses = lookup(host, config).await?;
    addresses.retain(|address| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4()));
    if addresses.is_empty() {
        let text = "the host has no address of the family of `Dialer::local_address`";
        return Err(DialError::Tcp(io::Error::new(io::ErrorKind::AddrNotAvailable, text).into()));
    }
    race(addresses, |address| connect_to(address, local)).await.map_err(|errors| {
        let kind = errors.last().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
        DialError::Tcp(io::Error::new(kind, AllFailed(errors)).into())
    })
}

/// The addresses of a host: those of the settings, else those of the resolver.
pub(super) async fn lookup(
    host: Host<'_>,
    config: &TransportConfig,
) -> Result<Vec<SocketAddr>, DialError> {
    let bare = host.name.trim_start_matches('[').trim_end_matches(']');
    let mut found = match config.resolved.get(&bare.to_ascii_lowercase()) {
        Some(known) => known.iter().map(|address| with_port(*address, host.port)).collect(),
        None => ask_resolver(bare, host.port).await?,
    };
    if found.is_empty() {
        return Err(no_address(bare));
    }
    if let Some(zone) = host.zone {
        let scope = scope_id(zone).await.map_err(|error| DialError::Tcp(error.into()))?;
        for address in &mut found {
            if let SocketAddr::V6(address) = address {
                address.set_scope_id(scope);
            }
        }
    }
    Ok(found)
}

async fn ask_resolver(name: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    match lookup_host((name, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => {
            let text = format!("{name}: {error}");
            Err(DialError::Dns(io::Error::new(error.kind(), text).into()))
        }
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    if address.port() == 0 {
        address.set_port(port);
    }
    address
}

/// The error of a host without a usable address.
pub(super) fn no_address(name: &str) -> DialError {
    let text = format!("{name}: the host has no such address");
    DialError::Dns(io::Error::new(io::ErrorKind::NotFound, text).into())
}

/// The scope of a zone: a number, or the name of a network interface.
async fn scope_id(zone: &str) -> io::Result<u32> {
    if let Ok(scope) = zone.parse() {
        return Ok(scope);
    }
    // The system looks up the name of an interface behind a link-local address.
    let mut found = lookup_host((format!("fe80::%{zone}"), 0)).await.into_iter().flatten();
    let scope = found.find_map(|address| match address {
        SocketAddr::V6(address) => Some(address.scope_id()).filter(|scope| *scope > 0),
        SocketAddr::V4(_) => None,
    });
    scope.ok_or_else(|| {
        let text = format!("there is no network interface {zone:?}");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

async fn connect_to(address: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(local) = local {
        socket.bind((local, 0).into())?;
    }
    let tcp = socket.connect(address).await?;
    // The connection works without it, too.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

/// The errors of all attempts.
#[derive(Debug)]
struct AllFailed(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AllFailed {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// On Linux, a listener whose backlog is full answers nothing.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_silent_address_is_passed() {
        let listen = |backlog| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            let listener = socket.listen(backlog).unwrap();
            (listener.local_addr().unwrap(), listener)
        };
        let ((silent, _full), (good, _open)) = (listen(0), listen(16));
        let _fills = connect_to(silent, None).await.unwrap();
        let won = timeout(
            Duration::from_secs(30),
            race(vec![silent, good], |address| connect_to(address, None)),
        );
        assert_eq!(won.await.unwrap().unwrap().peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn the_errors_of_all_addresses_are_named() {
        let error =
            connect(Host { name: "127.0.0.1", zone: None, port: 1 }, &TransportConfig::default())
                .await;
        let DialError::Tcp(error) = error.unwrap_err() else { panic!() };
        assert!(error.to_string().starts_with("127.0.0.1:1: "), "{error}");
        let refused = |address| (address, io::Error::from(io::ErrorKind::ConnectionRefused));
        let failed = AllFailed(
            ["1.1.1.1:80", "[::1]:80"].map(|address| refused(address.parse().unwrap())).into(),
        );
        let expected = "1.1.1.1:80: connection refused, [::1]:80: connection refused";
        assert_eq!(failed.to_string(), expected);
    }

    #[tokio::test]
    async fn a_zone_is_a_number_or_an_interface() {
        assert_eq!(scope_id("7").await.unwrap(), 7);
        assert!(scope_id("lo").await.is_ok_and(|scope| scope > 0));
        let error = scope_id("no-such-interface").await.unwrap_err();
        assert!(error.to_string().contains("no network interface"), "{error}");
    }
}
