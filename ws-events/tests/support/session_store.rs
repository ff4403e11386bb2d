//! What does a store of sessions promise, whichever it is?

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ws_events::{Bytes, SessionStore};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

/// A call of one of two stores, which belong together. A replacement has the record before.
enum Call {
    Put(usize, &'static [u8], Duration),
    Replace(usize, &'static [u8], Duration, Option<&'static [u8]>),
    Delete(usize),
    /// Longer than a moment.
    Wait,
}

use Call::{Delete, Put, Replace, Wait};

const ROWS: &[(&str, &[Call])] = &[
    (
        "what is not there is not kept either",
        &[Replace(0, b"a", MINUTE, None), Replace(1, b"b", MINUTE, None)],
    ),
    (
        "any bytes are kept for all",
        &[Put(0, b"a\0\xff", MINUTE), Replace(1, b"", MINUTE, Some(b"a\0\xff"))],
    ),
    (
        "a session is claimed once",
        &[
            Put(0, b"held", MINUTE),
            Replace(1, b"by two", MINUTE, Some(b"held")),
            Replace(0, b"by one", MINUTE, Some(b"by two")),
        ],
    ),
    (
        "the last record counts",
        &[
            Put(0, b"a", MINUTE),
            Put(1, b"b", MINUTE),
            Put(0, b"c", MINUTE),
            Replace(1, b"d", MINUTE, Some(b"c")),
        ],
    ),
    (
        "what is deleted is not there, and may be deleted again",
        &[Put(0, b"a", MINUTE), Delete(1), Delete(0), Replace(0, b"b", MINUTE, None)],
    ),
    ("a record ends with its time", &[Put(0, b"a", MOMENT), Wait, Replace(1, b"b", MINUTE, None)]),
    (
        "one without a time ends, too",
        &[Put(0, b"a", Duration::ZERO), Wait, Replace(1, b"b", MINUTE, None)],
    ),
    (
        "so does one that has replaced another",
        &[
            Put(0, b"a", MINUTE),
            Replace(1, b"b", MOMENT, Some(b"a")),
            Wait,
            Replace(0, b"c", MINUTE, None),
        ],
    ),
    (
        "the time is that of the last record",
        &[
            Put(0, b"a", MOMENT),
            Put(0, b"b", MINUTE),
            Wait,
            Replace(1, b"c", Duration::MAX, Some(b"b")),
            Put(1, b"d", Duration::MAX),
            Wait,
            Replace(0, b"e", MINUTE, Some(b"d")),
        ],
    ),
];

/// Two stores, of two processes if the store is for several, and a key that is theirs.
pub(crate) async fn check(stores: [Arc<dyn SessionStore>; 2], key: &str) {
    for (name, calls) in ROWS {
        stores[0].delete(key).await.unwrap();
        for (at, call) in calls.iter().enumerate() {
            match call {
                Put(store, record, ttl) => {
                    stores[*store].put(key, Bytes::from_static(record), *ttl).await.unwrap();
                }
                Replace(store, record, ttl, before) => {
                    let record = Bytes::from_static(record);
                    let got = stores[*store].replace(key, record, *ttl).await.unwrap();
                    assert_eq!(got.as_deref(), *before, "{key}, {name}: call {at}");
                }
                Delete(store) => stores[*store].delete(key).await.unwrap(),
                Wait => tokio::time::sleep(20 * MOMENT).await, // tidy: sleep is the subject
            }
        }
    }
    for round in 0..50_u8 {
        stores[0].put(key, Bytes::from_static(b"held"), MINUTE).await.unwrap();
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
