//! Does a server live on when the application panics, whichever the adapter?
#![cfg(test)]

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use warp::Filter as _;
use ws_server_hyper::{AcceptOptions, Conn, Error, StatusCode, TestClient, TestError};

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

fn on_hyper() -> TestClient {
    TestClient::new(service_fn(async |mut request: Request<Incoming>| {
        let answer: Response<Full<Bytes>> = match ws_server_hyper::accept(&mut request, &options())
        {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(handler));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        Ok::<_, Infallible>(answer)
    }))
}

fn on_axum() -> TestClient {
    let route = ws_server_axum::websocket(options(), handler);
    ws_server_axum::test_client(Router::new().route("/{what}", route))
}

fn on_warp() -> TestClient {
    let route = warp::path!(String)
        .and(ws_server_warp::ws(options()))
        .map(|_, ws: ws_server_warp::Ws| ws.on_upgrade(handler));
    ws_server_warp::test_client(warp::service(route.recover(ws_server_warp::recover)))
}

#[tokio::test]
async fn a_panic_is_1011_or_500_and_the_next_connection_works() {
    let run = async {
        for client in [on_hyper(), on_axum(), on_warp()] {
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
