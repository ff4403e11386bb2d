//! What does a store of sessions promise, whichever it is?

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ws_events::{Bytes, SessionStore};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

/// A call of one of two stores, which belong together. A record has a generation, and a replacement has
/// the record before.
enum Call {
    Put(usize, u64, &'static [u8], Duration),
    Replace(usize, &'static [u8], Duration, Option<&'static [u8]>),
    /// Longer than a moment.
    Wait,
}

use Call::{Put, Replace, Wait};

const ROWS: &[(&str, &[Call])] = &[
    (
        "what is not there is not kept either",
        &[Replace(0, b"a", MINUTE, None), Replace(1, b"b", MINUTE, None)],
    ),
    (
        "any bytes are kept for all",
        &[Put(0, 0, b"a\0\xff", MINUTE), Replace(1, b"", MINUTE, Some(b"a\0\xff"))],
    ),
    (
        "a session is claimed once",
        &[
            Put(0, 1, b"held", MINUTE),
            Replace(1, b"by two", MINUTE, Some(b"held")),
            Replace(0, b"by one", MINUTE, Some(b"by two")),
        ],
    ),
    (
        "of one generation, the last record counts",
        &[
            Put(0, 1, b"a", MINUTE),
            Put(1, 1, b"b", MINUTE),
            Put(0, 1, b"c", MINUTE),
            Replace(1, b"d", MINUTE, Some(b"c")),
        ],
    ),
    (
        "a record that is older does not take the place of another",
        &[
            Put(0, 8, b"a", MINUTE),
            Put(1, 7, b"late", MINUTE),
            Put(1, 0, b"late", MINUTE),
            Replace(1, b"b", MINUTE, Some(b"a")),
        ],
    ),
    (
        "generations are numbers",
        &[
            Put(0, 9, b"a", MINUTE),
            Put(1, 10, b"b", MINUTE),
            Put(0, 9, b"late", MINUTE),
            Put(0, 1 << 32, b"c", MINUTE),
            Put(1, (1 << 32) - 1, b"late", MINUTE),
            Replace(1, b"d", MINUTE, Some(b"c")),
            Put(0, u64::MAX, b"e", MINUTE),
            Put(1, u64::MAX - 1, b"late", MINUTE),
            Put(1, 1 << 63, b"late", MINUTE),
            Replace(1, b"f", MINUTE, Some(b"e")),
        ],
    ),
    (
        "what replaces a record has its generation",
        &[
            Put(0, 8, b"a", MINUTE),
            Replace(1, b"b", MINUTE, Some(b"a")),
            Replace(1, b"c", MINUTE, Some(b"b")),
            Put(0, 7, b"late", MINUTE),
            Replace(1, b"d", MINUTE, Some(b"c")),
            Put(0, 8, b"e", MINUTE),
            Replace(1, b"f", MINUTE, Some(b"e")),
        ],
    ),
    (
        "a record that is too late does not change the time",
        &[
            Put(0, 8, b"a", MINUTE),
            Put(1, 7, b"late", MOMENT),
            Wait,
            Replace(1, b"b", MINUTE, Some(b"a")),
        ],
    ),
    (
        "behind the time of a record, an older one is kept",
        &[
            Put(0, 8, b"a", MOMENT),
            Wait,
            Put(1, 7, b"b", MINUTE),
            Replace(0, b"c", MINUTE, Some(b"b")),
        ],
    ),
    (
        "a record ends with its time",
        &[Put(0, 1, b"a", MOMENT), Wait, Replace(1, b"b", MINUTE, None)],
    ),
    (
        "one without a time ends, too",
        &[Put(0, 1, b"a", Duration::ZERO), Wait, Replace(1, b"b", MINUTE, None)],
    ),
    (
        "so does one that has replaced another",
        &[
            Put(0, 1, b"a", MINUTE),
            Replace(1, b"b", MOMENT, Some(b"a")),
            Wait,
            Replace(0, b"c", MINUTE, None),
        ],
    ),
    (
        "the time is that of the last record",
        &[
            Put(0, 1, b"a", MOMENT),
            Put(0, 2, b"b", MINUTE),
            Wait,
            Replace(1, b"c", Duration::MAX, Some(b"b")),
            Put(1, 3, b"d", Duration::MAX),
            Wait,
            Replace(0, b"e", MINUTE, Some(b"d")),
        ],
    ),
];

/// Two stores, of two processes if the store is for several, and what the names of keys begin with that
/// are theirs.
pub(crate) async fn check(stores: [Arc<dyn SessionStore>; 2], prefix: &str) {
    for (row, (name, calls)) in ROWS.iter().enumerate() {
        let key = &format!("{prefix}:{row}");
        for (at, call) in calls.iter().enumerate() {
            match call {
                Put(store, generation, record, ttl) => {
                    let record = Bytes::from_static(record);
                    stores[*store].put(key, *generation, record, *ttl).await.unwrap();
                }
                Replace(store, record, ttl, before) => {
                    let record = Bytes::from_static(record);
                    let got = stores[*store].replace(key, record, *ttl).await.unwrap();
                    assert_eq!(got.as_deref(), *before, "{key}, {name}: call {at}");
                }
                Wait => tokio::time::sleep(20 * MOMENT).await, // tidy: sleep is the subject
            }
        }
    }
    let key = prefix;
    for round in 0..50_u8 {
        stores[0].put(key, 1, Bytes::from_static(b"held"), MINUTE).await.unwrap();
        let claims = (0..8_u8).map(|number| {
            let (store, key) = (Arc::clone(&stores[usize::from(number) % 2]), key.to_owned());
            let claim = async move { store.replace(&key, vec![number].into(), MINUTE).await };
            tokio::spawn(claim)
        });
        let claims = join_all(claims).await;
        let mut before: Vec<_> =
            claims.into_iter().map(|claim| claim.unwrap().unwrap().expect("a record")).collect();
        before.sort();
        // All but the last one are replaced in turn, so no two calls have got the same.
        before.dedup();
        assert_eq!(before.len(), 8, "{key}, round {round}: claims at once");
        assert_eq!(before.last().map(|it| &it[..]), Some(&b"held"[..]), "{key}, round {round}");
    }
}
