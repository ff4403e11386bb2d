//! Does the server survive panics of the application, with each adapter?

use std::time::Duration;

use ws_server_hyper::{
    AcceptOptions, Conn, Error, Frame, Origin, StatusCode, TestClient, TestError,
};

use crate::adapters;

/// Panics in the handler or in a hook, depending on the path.
async fn handler(conn: Conn) -> Result<(), Error> {
    let path = conn.request().map(|request| request.uri.path().to_owned()).unwrap_or_default();
    assert!(path != "/handler", "a secret");
    match path.as_str() {
        "/on_ping" => conn.on_ping(|_, _| panic!("a secret")),
        "/on_pong" => conn.on_pong(|_, _| panic!("a secret")),
        "/on_close" => conn.on_close(|_, _| panic!("a secret")),
        _ => return conn.write("fine").await,
    }
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

fn options() -> AcceptOptions {
    AcceptOptions::new()
        .filter(|request| {
            assert!(request.uri().path() != "/filter", "a secret");
            true
        })
        .origin(Origin::check(|origin, _| {
            assert!(origin != "https://origin.example", "a secret");
            true
        }))
        .subprotocol_selector(|offered| {
            assert!(!offered.contains(&"selector"), "a secret");
            None
        })
        .on_panic(|panicked| async move {
            assert_eq!(panicked.message(), Some("a secret"));
            let _ = panicked.conn.write("sorry").await;
            panic!("once more");
        })
}

/// Checks that the server accepts the next connection.
async fn check_fine(client: &TestClient) {
    let conn = client.websocket("/fine").connect().await.unwrap();
    assert_eq!(conn.read().await.unwrap().as_text(), Some("fine"));
    let ended = conn.read().await.unwrap_err();
    assert_eq!(ended.close_status(), Some(StatusCode::NORMAL_CLOSURE));
}

#[tokio::test]
async fn a_panic_is_1011_or_500_and_the_next_connection_works() {
    let run = async {
        for adapters::Served { client, .. } in adapters::each(&options(), handler) {
            for client in [client.clone(), client.http2()] {
                for request in [
                    client.websocket("/filter"),
                    client.websocket("/x").header("origin", "https://origin.example"),
                    client.websocket("/x").subprotocols(["selector"]),
                ] {
                    let refused = request.connect().await.unwrap_err();
                    let TestError::Refused(response) = refused else { panic!("{refused}") };
                    assert_eq!(response.status(), 500);
                    assert!(!response.body().windows(6).any(|text| text == b"secret"));
                    check_fine(&client).await;
                }
                for path in ["/handler", "/on_ping", "/on_pong"] {
                    let conn = client.websocket(path).connect().await.unwrap();
                    match path {
                        "/on_ping" => conn.frames().write(Frame::ping("")).await.unwrap(),
                        "/on_pong" => conn.frames().write(Frame::pong("")).await.unwrap(),
                        _ => {}
                    }
                    assert_eq!(conn.read().await.unwrap().as_text(), Some("sorry"), "{path}");
                    let Error::Closed(close) = conn.read().await.unwrap_err() else { panic!() };
                    assert_eq!((close.code, &*close.reason), (StatusCode::INTERNAL_ERROR, ""));
                    check_fine(&client).await;
                }
                // The close frame is answered as after every panic.
                let conn = client.websocket("/on_close").connect().await.unwrap();
                conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
                let answer = conn.closed().await.received.unwrap();
                assert_eq!(answer.code, StatusCode::INTERNAL_ERROR);
                check_fine(&client).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}
