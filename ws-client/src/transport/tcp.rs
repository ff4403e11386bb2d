//! How is a TCP connection to a host made, over all of its addresses?

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::DialError;

/// The time between two attempts (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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

/// Connects to a host, from `local` if that is set.
pub(super) async fn connect(host: Host<'_>, local: Option<IpAddr>) -> Result<TcpStream, DialError> {
    let mut addresses = lookup(host).await?;
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

/// The addresses of a host.
pub(super) async fn lookup(host: Host<'_>) -> Result<Vec<SocketAddr>, DialError> {
    let bare = host.name.trim_start_matches('[').trim_end_matches(']');
    let mut found: Vec<_> = match lookup_host((bare, host.port)).await {
        Ok(found) => found.collect(),
        Err(error) => {
            let text = format!("{bare}: {error}");
            return Err(DialError::Dns(io::Error::new(error.kind(), text).into()));
        }
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

/// Makes attempts to all addresses, the families in turns. An attempt starts when the previous one
/// fails, or after [`ATTEMPT_DELAY`]. The first that succeeds wins, and the others are dropped
/// (RFC 8305 §5). Returns all errors if none succeeds.
pub(super) async fn race<T, E, F>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<(SocketAddr, E)>>
where
    F: Future<Output = Result<T, E>>,
{
    let attempt = &attempt;
    let start = |address| async move { attempt(address).await.map_err(|error| (address, error)) };
    let mut waiting = in_turns(addresses).into_iter();
    let mut started = Vec::new();
    let mut errors = Vec::new();
    loop {
        started.extend(waiting.next().map(|address| Box::pin(start(address))));
        if started.is_empty() {
            return Err(errors);
        }
        let done = match waiting.len() {
            0 => Ok(next_done(&mut started).await),
            _ => timeout(ATTEMPT_DELAY, next_done(&mut started)).await,
        };
        match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => errors.push(error),
            // The delay is over.
            Err(_) => {}
        }
    }
}

/// Waits for the first of some futures to end, and removes it. There are a few, at most as many as
/// a host has addresses.
async fn next_done<F: Future>(started: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for index in 0..started.len() {
            let Some(future) = started.get_mut(index) else { break };
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                drop(started.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

/// Sorts addresses so that the families alternate, beginning with that of the first one. Otherwise
/// keeps the order of the resolver (RFC 8305 §4). Drops repeated addresses.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut sorted = Vec::new();
    while first.len() + second.len() > 0 {
        for address in first.next().into_iter().chain(second.next()) {
            if !sorted.contains(&address) {
                sorted.push(address);
            }
        }
    }
    sorted
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
    use std::cell::RefCell;
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// The last segment of an address is its number.
    fn address(text: &str) -> SocketAddr {
        format!("{text}:80").parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| address(text)).collect()
    }

    #[test]
    fn the_families_alternate_and_no_address_is_repeated() {
        let check = |given: &[&str], expected: &[&str]| {
            assert_eq!(in_turns(addresses(given)), addresses(expected), "{given:?}");
        };
        check(&[], &[]);
        check(&["1.1.1.1"], &["1.1.1.1"]);
        check(&["1.1.1.1", "1.1.1.2", "1.1.1.1"], &["1.1.1.1", "1.1.1.2"]);
        check(&["[::1]", "[::2]", "1.1.1.1"], &["[::1]", "1.1.1.1", "[::2]"]);
        check(&["1.1.1.1", "[::1]", "[::2]", "[::3]"], &["1.1.1.1", "[::1]", "[::2]", "[::3]"]);
        check(
            &["1.1.1.1", "1.1.1.2", "1.1.1.3", "[::1]"],
            &["1.1.1.1", "[::1]", "1.1.1.2", "1.1.1.3"],
        );
    }

    /// What an address does.
    #[derive(Clone, Copy)]
    enum Peer {
        Silent,
        Refuses,
        AcceptsAfter(u64),
    }

    /// Dials addresses 1.1.1.0, 1.1.1.1, …, and returns the number of the one that wins, when, and
    /// when each attempt began.
    async fn run(peers: &[Peer]) -> (Option<usize>, Vec<u128>) {
        let started = Instant::now();
        let attempts = RefCell::new(Vec::new());
        let all = (0..peers.len()).map(|number| address(&format!("1.1.1.{number}"))).collect();
        let attempt = |address: SocketAddr| {
            let IpAddr::V4(ip) = address.ip() else { unreachable!() };
            let number = usize::from(ip.octets()[3]);
            attempts.borrow_mut().push(started.elapsed().as_millis());
            async move {
                match peers[number] {
                    Peer::Silent => pending().await,
                    Peer::Refuses => Err(number),
                    Peer::AcceptsAfter(millis) => {
                        sleep(Duration::from_millis(millis)).await; // tidy: sleep is the subject
                        Ok(number)
                    }
                }
            }
        };
        let won = match race(all, attempt).await {
            Ok(number) => Some(number),
            Err(errors) => {
                assert_eq!(errors.len(), peers.len(), "all errors are reported");
                None
            }
        };
        (won, attempts.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_staggered_over_all_addresses() {
        use Peer::{AcceptsAfter, Refuses, Silent};
        let check = async |peers: &[Peer], winner: Option<usize>, began: &[u128]| {
            assert_eq!(run(peers).await, (winner, began.to_vec()));
        };
        check(&[AcceptsAfter(0), Silent], Some(0), &[0]).await;
        check(&[AcceptsAfter(249), Silent], Some(0), &[0]).await;
        // The fault: the second address of one family was never tried.
        check(&[Silent, AcceptsAfter(0)], Some(1), &[0, 250]).await;
        check(&[Silent, Silent, Silent, AcceptsAfter(9)], Some(3), &[0, 250, 500, 750]).await;
        // A slow one may still win.
        check(&[AcceptsAfter(300), AcceptsAfter(100)], Some(0), &[0, 250]).await;
        check(&[AcceptsAfter(400), AcceptsAfter(100)], Some(1), &[0, 250]).await;
        // An error starts the next attempt at once.
        check(&[Refuses, Refuses, AcceptsAfter(0)], Some(2), &[0, 0, 0]).await;
        check(&[Silent, Refuses, AcceptsAfter(0)], Some(2), &[0, 250, 250]).await;
        check(&[Refuses, Refuses], None, &[0, 0]).await;
        check(&[], None, &[]).await;
    }

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
        let error = connect(Host { name: "127.0.0.1", zone: None, port: 1 }, None).await;
        let DialError::Tcp(error) = error.unwrap_err() else { panic!() };
        assert!(error.to_string().starts_with("127.0.0.1:1: "), "{error}");
        let refused = |address| (address, io::Error::from(io::ErrorKind::ConnectionRefused));
        let failed = AllFailed(addresses(&["1.1.1.1", "[::1]"]).into_iter().map(refused).collect());
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
