//! Which connections count for a server, and for how long?

use http::Request;
use ws_core::Acceptor;
use ws_core::handler::{ConnectionGuard, ConnectionLimits, ConnectionTracker};
use ws_core::{AcceptOptions, Attributes, Conn, Rejection, pair};

type Meddle = fn(ConnectionGuard, &Conn) -> Option<Attributes>;

/// Checks that a connection counts while it has a handle, and no longer, whatever the application does
/// with its attributes.
#[track_caller]
fn check_counts(what: &str, meddle: Meddle) {
    let tracker = ConnectionTracker::new();
    let limits = ConnectionLimits::new().connections(1);
    let acceptor = Acceptor::new(&AcceptOptions::new().tracker(&tracker).limits(&limits));
    let request = Request::get("/").body(()).unwrap();
    let admit = || acceptor.admit_request(&request);
    let counts = || (tracker.counts().open, tracker.counts().ended);
    let (_client, server) = pair();
    let kept = meddle(admit().unwrap(), &server);
    assert_eq!(counts(), (1, 0), "{what}");
    assert_eq!(admit().unwrap_err(), Rejection::TooManyConnections, "{what}");
    drop(server);
    assert_eq!(counts(), (0, 1), "{what}");
    assert!(admit().is_ok(), "{what}");
    drop(kept);
}

#[tokio::test]
async fn a_connection_counts_until_it_is_gone_whatever_its_application_does_with_the_attributes() {
    check_counts("left alone", |guard, conn| {
        guard.release(conn);
        None
    });
    check_counts("cleared", |guard, conn| {
        guard.release(conn);
        conn.attributes().clear();
        None
    });
    check_counts("sealed", |guard, conn| {
        guard.release(conn);
        conn.attributes().seal();
        None
    });
    check_counts("sealed before", |guard, conn| {
        conn.attributes().seal();
        guard.release(conn);
        None
    });
    check_counts("cloned", |guard, conn| {
        guard.release(conn);
        conn.attributes().insert(1_u8);
        Some(conn.attributes().clone())
    });
}

#[tokio::test]
async fn a_connection_of_two_trackers_counts_in_both_until_it_is_gone() {
    let trackers = [ConnectionTracker::new(), ConnectionTracker::new()];
    let open = || trackers.each_ref().map(|tracker| tracker.counts().open);
    let (_client, server) = pair();
    for tracker in &trackers {
        let acceptor = Acceptor::new(&AcceptOptions::new().tracker(tracker));
        acceptor.admit().unwrap().release(&server);
    }
    assert_eq!(open(), [1, 1]);
    drop(server);
    assert_eq!(open(), [0, 0]);
}
