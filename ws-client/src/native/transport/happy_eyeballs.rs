//! In which order, and when, are the addresses of a host tried (RFC 8305)?

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

/// The time between two attempts (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;
    use std::net::IpAddr;

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
}
