//! How many connections does a server accept, in all and from each client?

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Rejection;
use crate::handshake::HandshakeRequest;

/// Limits of a server, for [`AcceptOptions::limits`](crate::AcceptOptions::limits). Default: none.
///
/// A connection counts from the acceptance of its handshake to the end of its handler. A handshake
/// beyond a limit of the whole server is refused with 503, and one beyond a limit of its client
/// with 429. Both responses have `Retry-After`.
///
/// A clone shares the counts, so several routes and adapters can share limits. The address is that
/// of the client: see [`TrustedProxies`](crate::handshake::TrustedProxies). Behind a proxy that is
/// not trusted, all clients have one address. IPv6 addresses count by their /64 network. Limits by
/// address do not apply where the address is not known, as on a Unix socket.
///
/// ```
/// use ws_core::AcceptOptions;
/// use ws_core::handler::ConnectionLimits;
///
/// let limits = ConnectionLimits::new()
///     .connections(50_000)
///     .per_address(100)
///     .handshakes_per_second(10)
///     .per_key(5, |request| request.extensions().get::<String>().cloned());
/// let options = AcceptOptions::new().limits(&limits);
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct ConnectionLimits {
    settings: LimitSettings,
    counts: Arc<Mutex<LimitCounts>>,
}

#[derive(Clone, Default)]
struct LimitSettings {
    connections: Option<usize>,
    per_address: Option<usize>,
    per_key: Option<(usize, Arc<KeyOf>)>,
    handshakes_per_second: Option<u32>,
    queued_bytes: Option<(u64, Arc<Measure>)>,
}

type KeyOf = dyn Fn(&HandshakeRequest<'_>) -> Option<String> + Send + Sync;
type Measure = dyn Fn() -> u64 + Send + Sync;

impl ConnectionLimits {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of open connections in all. Beyond it: 503.
    pub const fn connections(mut self, most: usize) -> Self {
        self.settings.connections = Some(most);
        self
    }

    /// The number of open connections from one address. Beyond it: 429.
    pub const fn per_address(mut self, most: usize) -> Self {
        self.settings.per_address = Some(most);
        self
    }

    /// The number of open connections of one user. Beyond it: 429. `key` identifies the user of a
    /// request, by an extension of the authentication, for example. A request without a key is not
    /// limited. Only a hash of the key is kept.
    ///
    /// warp hides the extensions that middleware adds: see `with_extensions` of `ws-server-warp`.
    pub fn per_key(
        mut self,
        most: usize,
        key: impl Fn(&HandshakeRequest<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.settings.per_key = Some((most, Arc::new(key)));
        self
    }

    /// The number of handshakes from one address in a second. Beyond it: 429.
    ///
    /// Handshakes that are refused count, too, for whatever reason: the origin of the page, the
    /// version, another limit; on a bare stream also a head that is malformed, too large or late. Not
    /// counted are those that the HTTP server or the application itself refuses, requests that do not
    /// ask for a WebSocket, and those during a shutdown. The extractor of axum refuses a malformed
    /// handshake before a handler runs, so it does not count for limits that only the handler sets. A
    /// page of another website that opens many WebSockets can use up the handshakes of its visitors, so
    /// allow some per second.
    ///
    /// It is an estimate: a handshake counts in full for one second, and less and less in the next one. With
    /// a limit of 1, an address may make one handshake in two seconds.
    ///
    /// At most 32,768 addresses are remembered. If more come within a second, the oldest are
    /// forgotten, and may then make as many handshakes again.
    pub const fn handshakes_per_second(mut self, most: u32) -> Self {
        self.settings.handshakes_per_second = Some(most);
        self
    }

    /// The number of bytes in the send queues of the server. Beyond it: 503. `measure` returns the
    /// current number; it is called for each handshake. For a hub, return `queued_bytes` of
    /// `Hub::stats`.
    pub fn queued_bytes(
        mut self,
        most: u64,
        measure: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.settings.queued_bytes = Some((most, Arc::new(measure)));
        self
    }

    /// Counts a connection, unless it is beyond a limit.
    pub(super) fn admit(
        &self,
        request: &HandshakeRequest<'_>,
        client: Option<SocketAddr>,
    ) -> Result<LimitSlot, Rejection> {
        self.count_handshake(client)?;
        let candidate = self.candidate(request, client);
        let mut counts = self.counts.lock();
        let (address, key) = self.check_counts(&counts, candidate)?;
        counts.open += 1;
        address.into_iter().for_each(|key| *counts.by_address.entry(key).or_default() += 1);
        key.into_iter().for_each(|key| *counts.by_key.entry(key).or_default() += 1);
        drop(counts);
        Ok(LimitSlot { counts: Arc::clone(&self.counts), address, key })
    }

    /// Counts a handshake, unless it is beyond the limit of its client.
    pub(super) fn count_handshake(&self, client: Option<SocketAddr>) -> Result<(), Rejection> {
        let address = client.map(|client| address_key(client.ip()));
        match self.settings.handshakes_per_second.zip(address) {
            Some((most, address))
                if !self.counts.lock().handshakes.take(address, most, Instant::now()) =>
            {
                Err(Rejection::TooManyHandshakes)
            }
            _ => Ok(()),
        }
    }

    /// Whether a handshake would be admitted now. It is not counted.
    pub(super) fn check(
        &self,
        request: &HandshakeRequest<'_>,
        client: Option<SocketAddr>,
    ) -> Result<(), Rejection> {
        let candidate = self.candidate(request, client);
        let counts = self.counts.lock();
        if let Some((most, address)) = self.settings.handshakes_per_second.zip(candidate.address)
            && !counts.handshakes.has_room(address, most, Instant::now())
        {
            return Err(Rejection::TooManyHandshakes);
        }
        self.check_counts(&counts, candidate).map(drop)
    }

    /// Calls the functions of the application, without the lock.
    fn candidate(&self, request: &HandshakeRequest<'_>, client: Option<SocketAddr>) -> Candidate {
        let LimitSettings { per_key, queued_bytes, .. } = &self.settings;
        Candidate {
            address: client.map(|client| address_key(client.ip())),
            key: per_key.as_ref().and_then(|(most, key)| Some((*most, key(request)?))),
            queues_full: queued_bytes.as_ref().is_some_and(|(most, measure)| measure() > *most),
        }
    }

    /// The keys by which the connection counts, unless it is beyond a limit.
    fn check_counts(
        &self,
        counts: &LimitCounts,
        candidate: Candidate,
    ) -> Result<(Option<u128>, Option<u64>), Rejection> {
        let LimitSettings { connections, per_address, .. } = self.settings;
        let Candidate { address, key, queues_full } = candidate;
        if connections.is_some_and(|most| counts.open >= most) {
            return Err(Rejection::TooManyConnections);
        }
        if queues_full {
            return Err(Rejection::TooManyQueuedBytes);
        }
        let address = per_address.zip(address);
        let key = key.map(|(most, key)| (most, counts.hasher.hash_one(key)));
        if address.is_some_and(|(most, address)| is_full(&counts.by_address, address, most)) {
            return Err(Rejection::TooManyFromAddress);
        }
        if key.is_some_and(|(most, key)| is_full(&counts.by_key, key, most)) {
            return Err(Rejection::TooManyOfKey);
        }
        Ok((address.map(|(_, address)| address), key.map(|(_, key)| key)))
    }
}

/// A handshake to which the limits apply.
struct Candidate {
    address: Option<u128>,
    /// The limit of a user, and this user.
    key: Option<(usize, String)>,
    queues_full: bool,
}

impl fmt::Debug for ConnectionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LimitSettings { connections, per_address, per_key, .. } = &self.settings;
        f.debug_struct("ConnectionLimits")
            .field("connections", connections)
            .field("per_address", per_address)
            .field("per_key", &per_key.as_ref().map(|(most, _)| most))
            .field("handshakes_per_second", &self.settings.handshakes_per_second)
            .field("queued_bytes", &self.settings.queued_bytes.as_ref().map(|(most, _)| most))
            .field("open", &self.counts.lock().open)
            .finish()
    }
}

/// The counts that the limits apply to. Except for the handshakes, the tables have entries for open
/// connections only.
#[derive(Default)]
struct LimitCounts {
    open: usize,
    by_address: HashMap<u128, usize>,
    by_key: HashMap<u64, usize>,
    hasher: RandomState,
    handshakes: HandshakeRates,
}

fn is_full<K: Eq + std::hash::Hash>(table: &HashMap<K, usize>, key: K, most: usize) -> bool {
    table.get(&key).copied().unwrap_or(0) >= most
}

/// The key of an address: the IPv4 address mapped to IPv6, or the /64 network of an IPv6 address.
/// The lower half of a network is zero, and that of a mapped address is not.
fn address_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// Counts a connection until it is dropped.
pub(super) struct LimitSlot {
    counts: Arc<Mutex<LimitCounts>>,
    address: Option<u128>,
    key: Option<u64>,
}

impl Drop for LimitSlot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.open -= 1;
        self.address.into_iter().for_each(|address| release(&mut counts.by_address, address));
        self.key.into_iter().for_each(|key| release(&mut counts.by_key, key));
    }
}

fn release<K: Eq + std::hash::Hash>(table: &mut HashMap<K, usize>, key: K) {
    if let Some(open) = table.get_mut(&key) {
        *open -= 1;
        if *open == 0 {
            table.remove(&key);
        }
    }
}

/// The most addresses in each of the two tables of [`HandshakeRates`].
const MAX_ADDRESSES: usize = 16 * 1024;

const SECOND: Duration = Duration::from_secs(1);

/// The handshakes that were admitted in this second and in the last, by address. Together they
/// estimate those of the last 1,000 ms.
#[derive(Default)]
struct HandshakeRates {
    began: Option<Instant>,
    current: HashMap<u128, u32>,
    previous: HashMap<u128, u32>,
}

impl HandshakeRates {
    /// Whether [`take`](Self::take) would count a handshake.
    fn has_room(&self, address: u128, most: u32, now: Instant) -> bool {
        let count = |table: &HashMap<_, _>| f64::from(table.get(&address).copied().unwrap_or(0));
        let elapsed = self.began.map_or(SECOND, |began| now.saturating_duration_since(began));
        let taken = if elapsed >= 2 * SECOND {
            0.0
        } else if elapsed >= SECOND {
            count(&self.current) * (2 * SECOND - elapsed).as_secs_f64()
        } else {
            count(&self.current) + count(&self.previous) * (SECOND - elapsed).as_secs_f64()
        };
        taken + 1.0 <= f64::from(most)
    }

    /// Counts a handshake. `false` if it is beyond the limit, and is not counted.
    fn take(&mut self, address: u128, most: u32, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= 2 * SECOND {
            self.previous.clear();
            self.current.clear();
            self.began = Some(now);
        } else if elapsed >= SECOND {
            self.previous = std::mem::take(&mut self.current);
            // Not now: the handshakes of the last second are as old as they are.
            self.began = Some(began + SECOND);
        } else if self.current.len() >= MAX_ADDRESSES && !self.current.contains_key(&address) {
            // Evicts the addresses of the last second.
            self.previous = std::mem::take(&mut self.current);
            self.began = Some(now);
        }
        let left = SECOND.saturating_sub(self.began.map_or(SECOND, |began| now - began));
        let before = self.previous.get(&address).copied().unwrap_or(0);
        let before = f64::from(before) * left.as_secs_f64();
        let count = self.current.entry(address).or_default();
        if f64::from(*count) + before + 1.0 > f64::from(most) {
            return false;
        }
        *count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admit(limits: &ConnectionLimits, address: &str, key: &str) -> Result<LimitSlot, Rejection> {
        let request = Request::get("/").header("key", key).body(()).unwrap();
        let client = address.parse().ok().map(|address| SocketAddr::new(address, 1));
        limits.admit(&HandshakeRequest::from(&request), client)
    }

    #[track_caller]
    fn check_refused(admitted: Result<LimitSlot, Rejection>, expected: &Rejection) {
        assert_eq!(admitted.err().as_ref(), Some(expected));
    }

    fn by_header(request: &HandshakeRequest<'_>) -> Option<String> {
        let key = request.headers().get("key")?.to_str().ok()?;
        (!key.is_empty()).then(|| key.to_owned())
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let limits = ConnectionLimits::new().connections(3).per_address(2).per_key(1, by_header);
        let shared = limits.clone();
        let first = admit(&limits, "192.0.2.1", "ann").unwrap();
        check_refused(admit(&shared, "192.0.2.2", "ann"), &Rejection::TooManyOfKey);
        let second = admit(&shared, "192.0.2.1", "").unwrap();
        check_refused(admit(&limits, "::ffff:192.0.2.1", ""), &Rejection::TooManyFromAddress);
        let third = admit(&limits, "", "").unwrap();
        check_refused(admit(&limits, "192.0.2.3", ""), &Rejection::TooManyConnections);
        drop((first, second, third));
        let counts = limits.counts.lock();
        assert_eq!((counts.open, counts.by_address.len(), counts.by_key.len()), (0, 0, 0));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let limits = ConnectionLimits::new().per_address(1);
        let first = admit(&limits, "2001:db8:0:1::1", "");
        check_refused(admit(&limits, "2001:db8:0:1:ffff::2", ""), &Rejection::TooManyFromAddress);
        assert!(first.is_ok() && admit(&limits, "2001:db8:0:2::1", "").is_ok());
    }

    #[test]
    fn full_queues_refuse_connections() {
        let queued = Arc::new(Mutex::new(100));
        let measured = Arc::clone(&queued);
        let limits = ConnectionLimits::new().queued_bytes(100, move || *measured.lock());
        assert!(admit(&limits, "", "").is_ok());
        *queued.lock() = 101;
        check_refused(admit(&limits, "", ""), &Rejection::TooManyQueuedBytes);
    }

    #[test]
    fn the_rate_of_an_address_is_that_of_the_last_second() {
        let (mut rates, began) = (HandshakeRates::default(), Instant::now());
        let mut taken = |address, millis: u64| {
            let now = began + Duration::from_millis(millis);
            let mut take = || {
                let has_room = rates.has_room(address, 10, now);
                assert_eq!(rates.take(address, 10, now), has_room, "{address} {millis}");
                has_room
            };
            (0..100).filter(|_| take()).count()
        };
        assert_eq!((taken(1, 0), taken(1, 999), taken(2, 999)), (10, 0, 10));
        // Half of the last second counts.
        assert_eq!((taken(1, 1000), taken(1, 1500), taken(3, 1500)), (0, 5, 10));
        assert_eq!(taken(1, 5000), 10);
        assert_eq!(taken(1, 6000), 0, "the last second was used up");
        assert_eq!(taken(1, 7000), 10);
    }

    /// Ten handshakes, and then silence for so many milliseconds → how many the client may make.
    #[test]
    fn a_client_that_is_silent_may_make_handshakes_again() {
        for (silence, expected) in
            [(0, 0), (1000, 0), (1100, 1), (1500, 5), (1990, 9), (1999, 9), (2000, 10), (3000, 10)]
        {
            let (mut rates, began) = (HandshakeRates::default(), Instant::now());
            assert!((0..10).all(|_| rates.take(1, 10, began)));
            let now = began + Duration::from_millis(silence);
            let taken = (0..20).filter(|_| {
                let has_room = rates.has_room(1, 10, now);
                assert_eq!(rates.take(1, 10, now), has_room, "after {silence} ms");
                has_room
            });
            assert_eq!(taken.count(), expected, "after {silence} ms");
        }
    }

    /// However the seconds of the table and those of the client lie.
    #[test]
    fn a_client_that_obeys_retry_after_has_all_of_its_handshakes() {
        let headers = Rejection::TooManyHandshakes.headers();
        let wait = headers[http::header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        for most in [1, 2, 10] {
            for refused_at in (0..3000).step_by(50) {
                let (mut rates, began) = (HandshakeRates::default(), Instant::now());
                assert!(rates.take(2, 10, began), "another client");
                let mut now = began + Duration::from_millis(refused_at);
                while rates.take(1, most, now) {}
                now += Duration::from_secs(wait);
                let admitted = (0..most).filter(|_| rates.take(1, most, now));
                assert_eq!(admitted.count(), most as usize, "{most} after {refused_at} ms");
            }
        }
    }

    #[test]
    fn a_flood_of_addresses_evicts_and_does_not_grow() {
        let (mut rates, now) = (HandshakeRates::default(), Instant::now());
        for address in 0..200_000 {
            assert!(rates.take(address, 1, now));
            assert!(rates.current.len() <= MAX_ADDRESSES && rates.previous.len() <= MAX_ADDRESSES);
        }
        assert!(!rates.take(199_999, 1, now), "the newest are known");
        assert!(rates.take(0, 1, now), "the oldest are forgotten");
    }
}
