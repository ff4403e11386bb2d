//! How does a server accept a connection on a byte stream, and run its handler?

use std::future::Future;
use std::io;

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ConnectionGuard, HandlerOutput};
use crate::conn::{Answered, receive};
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
    /// When the request is rejected, arrives too late, or is not HTTP, when the transport fails, and
    /// when the timeout of a [drain](super::ConnectionTracker::drain) passes before the client has
    /// taken the response: [`io::ErrorKind::ConnectionAborted`].
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
            let Some((conn, guard)) = acceptor.shake_hands(io).await? else {
                let message = "the timeout of the drain has passed";
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message).into());
            };
            guard.release(&conn);
            Ok(conn)
        })
    }

    /// Performs the opening handshake as [`accept`](Self::accept) does, and runs a handler to its
    /// end as [`ConnectionGuard::run`](super::ConnectionGuard::run) does.
    ///
    /// # Errors
    ///
    /// As `accept`. An error of the handler is not returned, and the timeout of a drain is no error.
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
        let accepting =
            Box::pin(async move { acceptor.shake_hands(io).await.map_err(Err)?.ok_or(Ok(())) });
        ConnectionGuard::connect_and_run(accepting, handler, || Ok(()))
    }
}

impl Acceptor {
    /// Performs the opening handshake. `None` when the timeout of a drain passes first.
    async fn shake_hands<T>(&self, io: T) -> Result<Option<(Conn, ConnectionGuard)>, AcceptError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Boxed, and freed before the connection is made, which takes its place.
        let received =
            Box::pin(receive(io, self, |request, answered| self.decide(request, answered)));
        let (request, guard) = received.await?;
        let responded = guard.wait(request.respond(self)).await;
        Ok(responded.transpose()?.map(|conn| (conn, guard)))
    }

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
