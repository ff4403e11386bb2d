//! How does a server get a connection out of a bare byte stream?

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::conn::driver::linger::{Farewell, Manner};
use crate::conn::driver::transport;
use crate::conn::{Conn, RequestInfo};
use crate::handler::ConnectionGuard;
use crate::handshake::head::{HeadError, decode_request, encode_response};
use crate::handshake::{AcceptOptions, Rejection};
use crate::proto::{Role, SendBuffer};

/// Why a byte stream did not become a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request was refused, and has been answered so.
    #[error("the opening handshake was refused")]
    Rejected(#[from] Rejection),
    /// The transport failed, or ended before the request did.
    #[error("the transport failed during the opening handshake")]
    Io(#[from] io::Error),
}

impl Conn {
    /// Makes the server's side of the opening handshake on a byte stream, such as a
    /// `TcpStream` that was just accepted.
    ///
    /// The head of the request may have 16 KiB, and has to arrive within
    /// [`AcceptOptions::handshake_timeout`]. What arrives behind it is kept. A request
    /// that is refused is answered with the status and the headers of its
    /// [`Rejection`].
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
        // On the heap: this state would else be part of what serves the connection.
        Box::pin(async move {
            let (conn, admitted) = Self::accept_admitted(io, options).await?;
            admitted.release(&conn);
            Ok(conn)
        })
    }

    /// As `accept`, for those who run a handler.
    pub(crate) async fn accept_admitted<T>(
        io: T,
        options: &AcceptOptions,
    ) -> Result<(Self, ConnectionGuard), AcceptError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // On the heap, and gone before the connection is made, which takes its place.
        let shaken = Box::pin(shake_hands(io, options, options.timeout())).await?;
        let config = options.shared_config();
        let conn =
            Self::from_stream(shaken.io, Role::Server, shaken.agreed, shaken.leftover, config);
        if options.keeps_request() {
            conn.set_request(RequestInfo::new(shaken.request.into_parts().0));
        }
        Ok((conn, shaken.admitted))
    }
}

struct Shaken<T> {
    io: T,
    agreed: crate::handshake::Negotiated,
    request: Request<()>,
    leftover: Bytes,
    admitted: ConnectionGuard,
}

async fn shake_hands<T>(
    mut io: T,
    options: &AcceptOptions,
    patience: Option<Duration>,
) -> Result<Shaken<T>, AcceptError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let reading = read_request(&mut io);
    let read = match patience {
        None => reading.await,
        Some(patience) => match tokio::time::timeout(patience, reading).await {
            Ok(read) => read,
            Err(_) => Err(Rejection::Timeout.into()),
        },
    };
    let answered = read.and_then(|(request, leftover)| {
        let accepted = options.answer(&request)?;
        Ok((request, leftover, accepted, options.admit()?))
    });
    match answered {
        Ok((request, leftover, accepted, admitted)) => {
            let response = accepted.response.map(|()| "");
            write_response(&mut io, &response, patience).await?;
            Ok(Shaken { io, agreed: accepted.negotiated, request, leftover, admitted })
        }
        Err(AcceptError::Rejected(rejection)) => {
            let mut response = rejection.clone().into_response();
            response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
            write_response(&mut io, &response, patience).await?;
            part(io, options);
            Err(rejection.into())
        }
        Err(error) => Err(error),
    }
}

/// Lets go of a client that has been refused: what it still sends, such as a body that
/// it announced, is read and dropped, lest a reset overtake the answer.
fn part(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, options: &AcceptOptions) {
    let config = options.shared_config();
    let (read, write, _) = transport::split(io, config.nodelay);
    Farewell::new(read, write, SendBuffer::default(), Role::Server, config.close_timeout)
        .begin(Manner::Linger);
}

async fn read_request(
    io: &mut (impl AsyncRead + Unpin),
) -> Result<(Request<()>, Bytes), AcceptError> {
    let mut input = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match decode_request(&input) {
            Ok(None) => {}
            Ok(Some((request, taken))) => {
                return Ok((request, input.split_off(taken).freeze()));
            }
            Err(HeadError::TooLarge) => return Err(Rejection::HeadTooLarge.into()),
            Err(_) => return Err(Rejection::HeadMalformed.into()),
        }
    }
}

/// Answers, with as much patience as for the request: a peer that takes no answer
/// must not hold us.
async fn write_response(
    io: &mut (impl AsyncWrite + Unpin),
    response: &Response<impl AsRef<[u8]>>,
    patience: Option<Duration>,
) -> io::Result<()> {
    let bytes = encode_response(response);
    let writing = async {
        io.write_all(&bytes).await?;
        io.flush().await
    };
    match patience {
        None => writing.await,
        Some(patience) => match tokio::time::timeout(patience, writing).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_refused_client_that_is_still_sending_gets_its_answer_and_no_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        client.write_all(head).await.unwrap();
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let refused = Conn::accept(io, &AcceptOptions::new()).await;
        assert!(matches!(refused, Err(AcceptError::Rejected(_))));
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    }
}
