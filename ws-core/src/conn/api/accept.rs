//! How does a server accept a connection on a byte stream?

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::Escaped;
use crate::conn::api::adapter::report_handshake;
use crate::conn::api::server_adapter::{
    report_refusal, report_unread, server_conn_of, set_request,
};
use crate::conn::driver::linger::{Linger, Shutdown};
use crate::conn::driver::transport;
use crate::conn::{Conn, Peer, RequestInfo};
use crate::handshake::head::{HeadError, encode_response, take_request};
use crate::handshake::{AcceptOptions, Accepted, Acceptor, HeadLimit, PeerAddr, Rejection};
use crate::proto::{Outbound, Role};

/// Why accepting a connection failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request was refused. The response contains the reason.
    Rejected(Rejection),
    /// The transport failed, or ended before the request.
    Io(io::Error),
}

impl_error!(AcceptError {
    Self::Rejected(why) => "the opening handshake was refused: {why}";
    Self::Io(why) =>
        "the transport failed during the opening handshake: {}", Escaped::new(&why.to_string());
});

impl_from!(AcceptError {
    Rejection => Self::Rejected,
    io::Error => Self::Io,
});

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::HeadMalformed,
            HeadError::TooLarge => Self::HeadTooLarge,
        }
    }
}

/// What [`Acceptor::answer`] says to a request.
pub(crate) type Answered = Result<Accepted, Rejection>;

/// An accepted request, before the response.
pub(crate) struct AcceptedRequest<T> {
    io: T,
    began: Instant,
    peer: Option<SocketAddr>,
    request: Request<()>,
    leftover: Bytes,
    accepted: Accepted,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> AcceptedRequest<T> {
    /// Sends the response, and makes the connection.
    pub(crate) async fn respond(mut self, acceptor: &Acceptor) -> Result<Conn, AcceptError> {
        let options = acceptor.options();
        let rest = options.timeout().map(|limit| limit.saturating_sub(self.began.elapsed()));
        let response = std::mem::take(&mut self.accepted.response).map(|()| "");
        write_response(&mut self.io, &response, rest).await?;
        report_handshake(Role::Server, self.began);
        let Self { io, peer, request, leftover, accepted, .. } = self;
        let Accepted { negotiated, peer_addr, secure, .. } = accepted;
        let peer = Peer { transport: peer, client: peer_addr };
        let kept = options.keeps_request().then(|| {
            let mut kept = RequestInfo::new(request.into_parts().0);
            (kept.peer_addr, kept.secure) = (peer.client, secure);
            kept
        });
        let config = options.shared_config();
        Ok(server_conn_of(io, negotiated, leftover, config, peer, |conn| {
            kept.into_iter().for_each(|kept| set_request(conn, kept));
        }))
    }
}

/// Reads a request, and answers it if it is refused. `decide` gets the answer to the request, or why
/// there is no request. It decides at the end whether the server takes the connection, and what it keeps with it; or it
/// changes the reason of a refusal.
pub(crate) async fn receive<T, A>(
    mut io: T,
    acceptor: &Acceptor,
    decide: impl FnOnce(&Request<()>, Answered) -> Result<(Accepted, A), Rejection>,
) -> Result<(AcceptedRequest<T>, A), AcceptError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (began, limit) = (Instant::now(), acceptor.options().timeout());
    let read = within(limit, read_request(&mut io, acceptor.options().head())).await;
    let peer = transport::peer_addr(&io);
    let read = read.unwrap_or_else(|| Err(Rejection::Timeout.into()));
    let answered = match read {
        Ok((request, leftover)) => {
            answer(request, peer, acceptor, decide).map(|answered| (answered, leftover))
        }
        Err(AcceptError::Rejected(rejection)) => Err(refuse_unread(rejection, peer, decide).into()),
        Err(error) => Err(error),
    };
    match answered {
        Ok(((request, accepted, admitted), leftover)) => {
            Ok((AcceptedRequest { io, began, peer, request, leftover, accepted }, admitted))
        }
        Err(AcceptError::Rejected(rejection)) => {
            let mut response = rejection.clone().into_response();
            response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
            write_response(&mut io, &response, limit).await?;
            linger(io, acceptor.options());
            Err(rejection.into())
        }
        Err(error) => Err(error),
    }
}

/// Decides about a request, and logs a refusal.
fn answer<A>(
    request: Request<()>,
    peer: Option<SocketAddr>,
    acceptor: &Acceptor,
    decide: impl FnOnce(&Request<()>, Answered) -> Result<(Accepted, A), Rejection>,
) -> Result<(Request<()>, Accepted, A), AcceptError> {
    let request = with_peer_addr(request, peer);
    match decide(&request, acceptor.answer(&request)) {
        Ok((accepted, admitted)) => Ok((request, accepted, admitted)),
        Err(rejection) => {
            report_refusal(acceptor, &request, &rejection);
            Err(rejection.into())
        }
    }
}

/// Decides about the reason to refuse a request that has not completely arrived, and logs it. Only
/// the address of the peer is known.
fn refuse_unread<A>(
    rejection: Rejection,
    peer: Option<SocketAddr>,
    decide: impl FnOnce(&Request<()>, Answered) -> Result<(Accepted, A), Rejection>,
) -> Rejection {
    let request = with_peer_addr(Request::new(()), peer);
    let rejection = decide(&request, Err(rejection.clone())).err().unwrap_or(rejection);
    report_unread(peer, &rejection);
    rejection
}

fn with_peer_addr(mut request: Request<()>, peer: Option<SocketAddr>) -> Request<()> {
    if let Some(peer) = peer {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

/// Closes the stream of a client that was refused. What the client still sends, such as a
/// body, is read and dropped: otherwise a reset could overtake the response.
fn linger(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, options: &AcceptOptions) {
    let config = options.shared_config();
    let (read, write, _) = transport::split(io, config.nodelay, None);
    let outbound = Outbound::new(Role::Server, &config, None);
    Linger::begin((read, write), outbound, config.close_timeout, Shutdown::Graceful);
}

async fn read_request(
    io: &mut (impl AsyncRead + Unpin),
    limit: HeadLimit,
) -> Result<(Request<()>, Bytes), AcceptError> {
    let mut input = Vec::with_capacity(1024);
    loop {
        if io.read_buf(&mut input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match take_request(&mut input, limit) {
            Ok(None) => {}
            Ok(Some(decoded)) => return Ok(decoded),
            Err(error) => return Err(Rejection::from(error).into()),
        }
    }
}

/// Writes the response within `limit`.
async fn write_response(
    io: &mut (impl AsyncWrite + Unpin),
    response: &Response<impl AsRef<[u8]>>,
    limit: Option<Duration>,
) -> io::Result<()> {
    let bytes = encode_response(response);
    let mut writing = pin!(async {
        io.write_all(&bytes).await?;
        io.flush().await
    });
    // Most responses are written at once, and need no timer.
    if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await {
        return written;
    }
    within(limit, writing).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Returns `None` when the limit passes first.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        None => Some(future.await),
        Some(limit) => timeout(limit, future).await.ok(),
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
        let refused = Acceptor::new(&AcceptOptions::new()).accept(io).await;
        assert!(matches!(refused, Err(AcceptError::Rejected(_))));
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_arrival_of_the_request_and_the_response_have_one_timeout() {
        // Less than the response.
        let (mut client, server) = tokio::io::duplex(64);
        let options = AcceptOptions::new().handshake_timeout(Duration::from_secs(10));
        let began = Instant::now();
        let accepted =
            tokio::spawn(async move { Acceptor::new(&options).accept(server).await.map(drop) });
        // More than fits in: the server has begun to read.
        let first = format!("GET /{} HTTP/1.1\r\n", "a".repeat(100));
        client.write_all(first.as_bytes()).await.unwrap();
        tokio::time::advance(Duration::from_secs(4)).await;
        let rest = b"Host: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(rest).await.unwrap();
        assert!(accepted.await.unwrap().is_err());
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn no_setting_allows_more_headers_than_a_map_can_hold() {
        for (headers, status) in [(9_999, "HTTP/1.1 101"), (24_576, "HTTP/1.1 431")] {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let more = "a:\r\n".repeat(headers - 5);
            client.write_all(format!("{head}{more}\r\n").as_bytes()).await.unwrap();
            let options = AcceptOptions::new().head_limit(1 << 20, usize::MAX);
            let accepted = Acceptor::new(&options).accept(server).await;
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, status.as_bytes(), "{headers}: {accepted:?}");
        }
    }
}
