//! How is a connection accepted that no handler is run for?

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::conn::accept;
use crate::{AcceptError, AcceptOptions, Conn};

impl Conn {
    /// Makes the server's side of the opening handshake on a byte stream, such as a `TcpStream`
    /// that was just accepted.
    ///
    /// The head of the request is limited to 16 KiB and to
    /// [`AcceptOptions::handshake_timeout`]. What arrives behind it is kept. A request that is
    /// refused is answered with the status and the headers of its [`Rejection`].
    ///
    /// ```no_run
    /// use tokio::net::TcpListener;
    /// use ws_core::{AcceptOptions, Conn};
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = TcpListener::bind("127.0.0.1:9000").await?;
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     tokio::spawn(async move {
    ///         let conn = Conn::accept(stream, &AcceptOptions::new()).await?;
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
    /// When the request is refused, late, or not HTTP, and when the transport fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, and the handshake with it.
    pub fn accept<T>(
        io: T,
        options: &AcceptOptions,
    ) -> impl Future<Output = Result<Self, AcceptError>> + Send
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Boxed: otherwise the task that serves the connection reserves the memory.
        Box::pin(async move {
            let (conn, admitted) = accept(io, options, || options.admit()).await?;
            admitted.release(&conn);
            Ok(conn)
        })
    }
}
