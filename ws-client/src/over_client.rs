//! How is a connection opened through a given HTTP client?

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, Version};
use reqwest::Client;
use ws_core::Conn;

use crate::DialError;
use crate::body::KEPT;
use crate::opening::{Opening, refused, verify};
use crate::patience::Patience;

/// Asks once. The client follows redirects as it likes them.
pub(crate) async fn connect(
    client: &Client,
    opening: &Opening,
    patience: Patience,
) -> Result<Conn, DialError> {
    let (offer, mut headers) = opening.ask(&opening.target)?;
    headers.extend(offer.headers());
    let request = client.get(opening.target.url().clone()).headers(headers);
    let sending = async { request.send().await.map_err(DialError::of_client) };
    let mut answer = patience.wait(sending).await?;
    if !matches!(answer.version(), Version::HTTP_10 | Version::HTTP_11) {
        return Err(DialError::Http2);
    }
    let response = head(&answer);
    if let Some(agreed) = verify(&offer, &response)? {
        let peer = answer.remote_addr();
        let upgrading = async { answer.upgrade().await.map_err(DialError::of_client) };
        let io = patience.wait(upgrading).await?;
        return Ok(opening.conn(io, Bytes::new(), agreed, response, peer));
    }
    let mut body = BytesMut::new();
    patience.wait_for_body(collect(&mut answer, &mut body)).await;
    Err(refused(response, body.freeze()))
}

/// The head of an answer, in memory of its own: that of hyper holds on to all that was read
/// with it, and a connection keeps it for long.
fn head(answer: &reqwest::Response) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status();
    *response.version_mut() = answer.version();
    let copied = answer.headers().iter().filter_map(|(name, value)| {
        Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in copied {
        headers.append(name, value);
    }
    *response.headers_mut() = headers;
    response
}

/// Reads as much of a body as is kept, or as there is.
async fn collect(answer: &mut reqwest::Response, body: &mut BytesMut) {
    while body.len() < KEPT {
        let Ok(Some(chunk)) = answer.chunk().await else { return };
        body.extend_from_slice(&chunk);
        body.truncate(KEPT);
    }
}
