//! Which helpers do several tests share: a TLS server with its own authority, and an echo?
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod authority;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
#[cfg(feature = "native-tls")]
use ws_client::Dialer;
use ws_client::{Conn, Dial, Error, Message, StatusCode};

pub(crate) use authority::Authority;

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A dialer that trusts only this authority, by the TLS library of the system.
#[cfg(feature = "native-tls")]
pub(crate) fn system_dialer(authority: &Authority, protocols: &[&str]) -> Dialer {
    use ws_client::native_tls::{Certificate, TlsConnector};

    let root = Certificate::from_der(&authority.root).unwrap();
    let mut builder = TlsConnector::builder();
    builder.disable_built_in_roots(true).add_root_certificate(root);
    let connector = builder.request_alpns(protocols).build().unwrap();
    Dialer::new().no_proxy().native_tls(connector)
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A stream over TCP, or over TLS.
pub(crate) async fn accept(listener: &TcpListener, tls: Option<&TlsAcceptor>) -> Box<dyn Stream> {
    let tcp = listener.accept().await.unwrap().0;
    match tls {
        Some(tls) => Box::new(tls.accept(tcp).await.unwrap()),
        None => Box::new(tcp),
    }
}

/// Copies both ways, and ends each direction with the other end of it. Returns how `here` has ended:
/// rustls reports an end without `close_notify` as an error.
pub(crate) async fn tunnel(here: impl Stream, there: TcpStream) -> io::Result<()> {
    let (mut from_here, mut to_here) = tokio::io::split(here);
    let (mut from_there, mut to_there) = there.into_split();
    let back = async {
        let _ = copy(&mut from_there, &mut to_here).await;
        let _ = to_here.shutdown().await;
    };
    let forth = async {
        let copied = copy(&mut from_here, &mut to_there).await;
        let _ = to_there.shutdown().await;
        copied.map(drop)
    };
    tokio::join!(back, forth).1
}

/// Echoes all messages.
pub(crate) async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Dials an echo server, and expects an echo.
pub(crate) async fn say_hello(dial: Dial) {
    let conn = dial.connect().await.unwrap();
    hear(&conn, "hello").await;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
}

pub(crate) async fn hear(conn: &Conn, text: &str) {
    conn.write(text).await.unwrap();
    assert_eq!(conn.read().await.unwrap(), Message::from(text));
}
