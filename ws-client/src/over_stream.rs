//! How is a connection opened over a given byte stream?

use std::io;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_core::handshake::head::{MAX_HEAD, decode_response, encode_request};
use ws_core::{Conn, HandshakeError};

use crate::body::Framing;
use crate::opening::{Opening, verify};
use crate::patience::Patience;
use crate::{DialError, Refusal};

pub(crate) async fn connect<T>(
    mut io: T,
    opening: &Opening,
    patience: Patience,
) -> Result<(Conn, Response<()>), DialError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (offer, headers) = opening.ask(&opening.target)?;
    let mut request = Request::new(());
    *request.uri_mut() = opening.target.uri().clone();
    *request.headers_mut() = headers;
    let (response, mut input) = patience.wait(exchange(&mut io, &request)).await?;
    if let Some(agreed) = verify(&offer, &response)? {
        return Ok((opening.conn(io, agreed, input.freeze()), response));
    }
    let framing = Framing::of(&response);
    patience.wait_for_body(collect(&mut io, framing, &mut input)).await;
    let body = Bytes::from(framing.decode(&input).0);
    let (head, ()) = response.into_parts();
    Err(DialError::Refused(Box::new(Refusal { status: head.status, headers: head.headers, body })))
}

/// Sends the request, and reads up to the end of the head that answers it.
async fn exchange(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &Request<()>,
) -> Result<(Response<()>, BytesMut), DialError> {
    io.write_all(&encode_request(request)).await?;
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
