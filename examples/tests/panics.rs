//! Does a server live on when the application panics, whichever the adapter?
#![cfg(test)]

mod adapters;

use std::time::Duration;

use ws_server_hyper::{AcceptOptions, Conn, Error, StatusCode, TestError};

/// Panics when it is asked to.
async fn handler(conn: Conn) -> Result<(), Error> {
    let asked = conn.request().is_some_and(|request| request.uri.path() == "/handler");
    assert!(!asked, "a secret");
    conn.write("fine").await
}

fn options() -> AcceptOptions {
    AcceptOptions::new()
        .filter(|request| {
            assert!(request.uri().path() != "/filter", "a secret");
            true
        })
        .on_panic(|panicked| async move {
            assert_eq!(panicked.message(), Some("a secret"));
            panicked.conn.write("sorry").await.unwrap();
            panic!("once more");
        })
}

#[tokio::test]
async fn a_panic_is_1011_or_500_and_the_next_connection_works() {
    let run = async {
        for adapters::Served { client, .. } in adapters::each(&options(), handler) {
            for client in [client.clone(), client.http2()] {
                let refused = client.websocket("/filter").connect().await.unwrap_err();
                let TestError::Refused(answer) = refused else { panic!("{refused}") };
                assert_eq!(answer.status(), 500);
                assert!(!answer.body().windows(6).any(|text| text == b"secret"));

                let conn = client.websocket("/handler").connect().await.unwrap();
                assert_eq!(conn.read().await.unwrap().as_text(), Some("sorry"));
                let Error::Closed(close) = conn.read().await.unwrap_err() else { panic!() };
                assert_eq!((close.code, &*close.reason), (StatusCode::INTERNAL_ERROR, ""));

                let conn = client.websocket("/fine").connect().await.unwrap();
                assert_eq!(conn.read().await.unwrap().as_text(), Some("fine"));
                let ended = conn.read().await.unwrap_err();
                assert_eq!(ended.close_status(), Some(StatusCode::NORMAL_CLOSURE));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}
