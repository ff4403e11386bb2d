//! Does what needs a feature that is not enabled fail with an error that names the feature?
//!
//! `cargo test -p ws-client --no-default-features --test missing_features` runs this.
#![cfg(test)]
#![cfg(not(any(
    feature = "deflate",
    feature = "http2",
    feature = "idn",
    feature = "native-tls",
    feature = "proxy",
    feature = "rustls-tls-manual-roots",
)))]

use std::time::Duration;

use tokio::net::TcpListener;
use ws_client::{Compression, Dial, DialError, Dialer, InvalidUrl, MissingFeature, StatusCode};
use ws_core::{AcceptOptions, Acceptor};

#[tokio::test]
async fn errors_name_the_feature() {
    // Nothing is sent: nobody listens.
    let url = "ws://127.0.0.1:1";
    let by = |dialer: Dialer| Dial::new(url).dialer(&dialer);
    let rows = [
        (Dial::new("wss://127.0.0.1:1"), MissingFeature::Tls, "`rustls-tls`"),
        (by(Dialer::new().http2()), MissingFeature::Http2, "`http2`"),
        (by(Dialer::new().http2_only()), MissingFeature::Http2, "`http2`"),
        (by(Dialer::new().proxy("http://127.0.0.1:1")), MissingFeature::Proxy, "`proxy`"),
        (
            Dial::new(url).compression(Compression::context_takeover()),
            MissingFeature::Deflate,
            "`deflate`",
        ),
    ];
    for (dial, missing, name) in rows {
        let error = dial.connect().await.unwrap_err();
        assert!(matches!(error, DialError::MissingFeature(it) if it == missing), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = Dial::new("ws://b\u{fc}cher.example").connect().await.unwrap_err();
    assert!(matches!(error, DialError::Url(InvalidUrl::NotAscii)), "{error:?}");
    assert!(error.to_string().contains("`idn`"), "{error}");
}

#[tokio::test]
async fn what_needs_no_feature_works() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A server that would compress.
        let options = AcceptOptions::new().compression(Compression::context_takeover());
        let conn = Acceptor::new(&options).accept(stream).await.unwrap();
        while let Ok(message) = conn.read().await {
            conn.write(message).await.unwrap();
        }
    });
    let dialer = Dialer::new().proxy("http://127.0.0.1:1").no_proxy().proxy_except("a");
    let dial = Dial::new(url).dialer(&dialer).connect_timeout(Duration::from_secs(30));
    let conn = dial.connect().await.unwrap();
    assert!(!conn.is_compressed());
    conn.write("hello").await.unwrap();
    assert_eq!(conn.read().await.unwrap().as_text(), Some("hello"));
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
}
