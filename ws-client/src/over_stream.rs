//! How is a connection opened over a byte stream, by HTTP/1.1?

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_core::Conn;
use ws_core::handshake::HandshakeError;
use ws_core::handshake::head::{MAX_HEAD, decode_response, encode_request};

use crate::body::Framing;
use crate::opening::{Opening, refused, verify};
use crate::patience::Patience;
use crate::reach::{Reached, Transport};
use crate::target::Target;
use crate::{DialError, redirect};

/// Over a given stream.
pub(crate) async fn connect<T>(
    io: T,
    opening: &Opening,
    patience: Patience,
) -> Result<Conn, DialError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let over = Over { io, peer: None, follows: false };
    over.connect(&opening.target, opening, patience).await
}

/// Over a stream to this target, for one who follows redirects.
pub(crate) async fn connect_reached(
    reached: Reached,
    target: &Target,
    opening: &Opening,
    patience: Patience,
) -> Result<Conn, DialError> {
    let (peer, follows) = (reached.peer, true);
    match reached.io {
        Transport::Tcp(io) => Over { io, peer, follows }.connect(target, opening, patience).await,
        Transport::Other(io) => Over { io, peer, follows }.connect(target, opening, patience).await,
    }
}

struct Over<T> {
    io: T,
    peer: Option<SocketAddr>,
    /// Nobody reads the body of a redirect that is followed.
    follows: bool,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Over<T> {
    async fn connect(
        mut self,
        target: &Target,
        opening: &Opening,
        patience: Patience,
    ) -> Result<Conn, DialError> {
        let (offer, headers) = opening.ask(target)?;
        let mut request = Request::new(());
        *request.uri_mut() = target.uri().clone();
        *request.headers_mut() = headers;
        request.headers_mut().extend(offer.headers());
        let request = encode_request(&request);
        let (response, mut input) = patience.wait(exchange(&mut self.io, &request)).await?;
        if let Some(agreed) = verify(&offer, &response)? {
            return Ok(opening.conn(self.io, input.freeze(), agreed, response, self.peer));
        }
        let leads_on = redirect::location(response.status(), response.headers()).is_some();
        if self.follows && leads_on {
            return Err(refused(response, Bytes::new()));
        }
        let framing = Framing::of(&response);
        patience.wait_for_body(collect(&mut self.io, framing, &mut input)).await;
        Err(refused(response, Bytes::from(framing.decode(&input).0)))
    }
}

/// Sends the head of a request, and reads up to the end of the head that answers it, and
/// perhaps beyond.
pub(crate) async fn exchange(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> Result<(Response<()>, BytesMut), DialError> {
    io.write_all(request).await?;
    io.flush().await?;
    let mut input = BytesMut::with_capacity(1024);
    loop {
        match decode_response(&input).map_err(HandshakeError::from)? {
            Some((response, taken)) => {
                let rest = input.split_off(taken);
                if is_final(response.status()) {
                    return Ok((response, rest));
                }
                input = rest;
            }
            None if io.read_buf(&mut input).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            None => {}
        }
    }
}

/// Any number of interim responses may come before the one that counts (RFC 9110 §15.2).
fn is_final(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational()
}

/// Reads as much of a body as is kept, or as there is.
async fn collect(io: &mut (impl AsyncRead + Unpin), framing: Framing, input: &mut BytesMut) {
    // Chunks of few bytes take more room than what is in them.
    while !framing.decode(input).1 && input.len() < MAX_HEAD {
        if !matches!(io.read_buf(input).await, Ok(1..)) {
            return;
        }
    }
}
