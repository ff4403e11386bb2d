//! How does a server accept a connection on a byte stream, and run its handler?

use std::future::Future;

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ConnectionGuard, HandlerOutput};
use crate::conn::{Answered, accept};
use crate::handshake::Accepted;
use crate::{AcceptError, Acceptor, Conn, Rejection};

impl Acceptor {
    /// Performs the server's side of the opening handshake on a byte stream, such as a `TcpStream`
    /// that was just accepted.
    ///
    /// The head of the request is limited by
    /// [`AcceptOptions::head_limit`](crate::AcceptOptions::head_limit) and
    /// [`handshake_timeout`](crate::AcceptOptions::handshake_timeout). Bytes that arrive after it
    /// are kept. A rejected request is answered with the status and the headers of
    /// its [`Rejection`](crate::Rejection).
    ///
    /// ```no_run
    /// use tokio::net::TcpListener;
    /// use ws_core::{AcceptOptions, Acceptor};
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let acceptor = Acceptor::new(&AcceptOptions::new());
    /// let listener = TcpListener::bind("127.0.0.1:9000").await?;
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     let accepting = acceptor.accept(stream);
    ///     tokio::spawn(async move {
    ///         let conn = accepting.await?;
    ///         while let Ok(message) = conn.read().await {
    ///             conn.write(message).await?;
    ///         }
    ///         Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    ///     });
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the request is rejected, arrives too late, or is not HTTP, and when the transport
    /// fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, and the handshake with it.
    pub fn accept<T>(
        &self,
        io: T,
    ) -> impl Future<Output = Result<Conn, AcceptError>> + Send + use<T>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let acceptor = self.clone();
        // Boxed: otherwise the task that serves the connection reserves the memory.
        Box::pin(async move {
            let (conn, guard) =
                accept(io, &acceptor, |request, answered| acceptor.decide(request, answered))
                    .await?;
            guard.release(&conn);
            Ok(conn)
        })
    }

    /// Performs the opening handshake as [`accept`](Self::accept) does, and runs a handler to its
    /// end as [`ConnectionGuard::run`](super::ConnectionGuard::run) does.
    ///
    /// # Errors
    ///
    /// As `accept`. An error of the handler is not returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler, and with it the connection.
    pub fn serve<T, F, Fut>(
        &self,
        io: T,
        handler: F,
    ) -> impl Future<Output = Result<(), AcceptError>> + use<T, F, Fut>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        let acceptor = self.clone();
        // Boxed: freed before the handler runs.
        let accepting = Box::pin(async move {
            accept(io, &acceptor, |request, answered| acceptor.decide(request, answered))
                .await
                .map_err(Err)
        });
        ConnectionGuard::connect_and_run(accepting, handler, || Ok(()))
    }
}

impl Acceptor {
    /// Admits an accepted request, or says why a refused one would be refused in any case.
    fn decide(
        &self,
        request: &Request<()>,
        answered: Answered,
    ) -> Result<(Accepted, ConnectionGuard), Rejection> {
        match answered {
            Ok(accepted) => Ok((accepted, self.admit_request(request)?)),
            Err(rejection) => Err(self.explain(request, self.refuse(request, rejection))),
        }
    }
}
