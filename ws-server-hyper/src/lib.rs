//! WebSockets on hyper 1.
//!
//! [`accept`] answers a request that asks for an upgrade, and gives an [`Upgrade`]: the
//! future of a [`Conn`], which is ready when hyper has sent the answer. Everything that
//! decides about a handshake is in [`AcceptOptions`]; everything that a connection can
//! do is in [`Conn`].
//!
//! ```no_run
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use hyper_util::rt::TokioIo;
//! use tokio::net::TcpListener;
//! use ws_server_hyper::{AcceptOptions, Error, Upgrade};
//!
//! async fn echo(upgrade: Upgrade) -> Result<(), Error> {
//!     let conn = upgrade.await?;
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! async fn serve(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
//!     match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
//!         Ok((response, upgrade)) => {
//!             tokio::spawn(echo(upgrade));
//!             Ok(response)
//!         }
//!         Err(rejection) => Ok(rejection.into_response().map(Full::from)),
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:9000").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         tokio::spawn(
//!             hyper::server::conn::http1::Builder::new()
//!                 .serve_connection(TokioIo::new(stream), service_fn(serve))
//!                 .with_upgrades(),
//!         );
//!     }
//! }
//! ```
//!
//! Under `hyper_util::server::conn::auto`, use `serve_connection_with_upgrades`. Where
//! the stream below is a `tokio::net::TcpStream` in a `TokioIo`, the connection takes it
//! over as such; any other stream is used as it is.
//!
//! Only HTTP/1.1 requests can be upgraded; others are refused with 501.

mod accept;
mod upgrade;

pub use accept::accept;
pub use upgrade::Upgrade;
pub use ws_core::handshake::is_upgrade;
pub use ws_core::{
    AcceptOptions, CloseError, CloseRead, Compression, Config, Conn, Deadline, EndedBy, Ending,
    Error, Keepalive, Limits, Message, MessageReader, MessageType, MessageWriter, Origin,
    ProtocolError, Rejection, RequestInfo, Stats, StatusCode, SubprotocolOrder,
};
