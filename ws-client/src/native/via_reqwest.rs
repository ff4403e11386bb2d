//! How is a WebSocket opened with a `reqwest::Client` of the application?

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, Version};
use reqwest::Client;
use ws_core::Conn;

use super::body::{MAX_BODY, read_in_time};
use super::deadline::HandshakeDeadline;
use super::request::{ClientHandshake, verify};
use crate::DialError;

/// Sends one request. The client follows redirects by its own policy.
pub(crate) async fn connect(
    client: &Client,
    handshake: &ClientHandshake,
    deadline: HandshakeDeadline,
) -> Result<Conn, DialError> {
    let (offer, mut headers) = handshake.offer(&handshake.url)?;
    headers.extend(offer.headers());
    let request = client.get(handshake.url.uri().to_string()).headers(headers);
    let sending = async { request.send().await.map_err(DialError::from_reqwest) };
    // The client does not tell its steps.
    let server = handshake.url.authority();
    let mut answer = deadline.run(server, None, sending).await?;
    if !matches!(answer.version(), Version::HTTP_10 | Version::HTTP_11) {
        return Err(DialError::Http2);
    }
    let response = copy_head(&answer);
    if let Some(negotiated) = verify(&offer, &response)? {
        let peer = answer.remote_addr();
        let upgrading = async { answer.upgrade().await.map_err(DialError::from_reqwest) };
        let io = deadline.run(server, None, upgrading).await?;
        return Ok(handshake.conn(io, Bytes::new(), negotiated, response, peer));
    }
    let mut body = BytesMut::new();
    let read = async {
        while body.len() < MAX_BODY
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    read_in_time(deadline, read).await;
    Err(DialError::refused(response, body))
}

/// Copies the head. The headers of hyper share memory with all bytes that were read together
/// with them, and the connection keeps the head for its lifetime.
fn copy_head(answer: &reqwest::Response) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status();
    *response.version_mut() = answer.version();
    response.headers_mut().extend(answer.headers().iter().filter_map(|(name, value)| {
        Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
    }));
    response
}
