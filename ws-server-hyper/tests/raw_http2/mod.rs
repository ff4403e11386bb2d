//! How do tests use the stream of a WebSocket over HTTP/2 without a client of WebSockets?
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::future::pending;
use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A client that sends and receives raw bytes on the stream of one WebSocket.
pub(crate) struct Raw {
    pub(crate) send: h2::SendStream<Bytes>,
    pub(crate) receive: h2::RecvStream,
    freeze: oneshot::Sender<()>,
    connection: JoinHandle<()>,
}

impl Raw {
    /// Opens a WebSocket at a path.
    pub(crate) async fn connect(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        path: &str,
    ) -> Self {
        let (client, connection) = h2::client::handshake(io).await.unwrap();
        let (freeze, frozen) = oneshot::channel::<()>();
        let connection = tokio::spawn(async move {
            let mut connection = pin!(connection);
            if let Either::Right((Ok(()), _)) = select(connection.as_mut(), frozen).await {
                pending::<()>().await;
            }
            let _ = connection.await;
        });
        let mut client = client.ready().await.unwrap();
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::connect(format!("http://localhost{path}"))
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (response, send) = client.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        Self { send, receive: response.into_body(), freeze, connection }
    }

    /// From now on, the transport stays open and is not polled.
    pub(crate) fn freeze(self) -> impl Sized {
        self.freeze.send(()).unwrap();
        (self.send, self.receive)
    }

    /// Drops the transport.
    pub(crate) async fn cut(self) {
        self.connection.abort();
        let _ = self.connection.await;
    }

    /// Waits for the end of the connection, which has no other stream.
    pub(crate) async fn ended(self) {
        drop((self.send, self.receive, self.freeze));
        self.connection.await.unwrap();
    }
}
