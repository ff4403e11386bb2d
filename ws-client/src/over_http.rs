//! How is a connection opened through an HTTP client?

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderMap, Response, StatusCode, Version};
use reqwest::{Client, ClientBuilder, redirect};
use ws_core::Conn;
use ws_core::handshake::Offer;

use crate::body::KEPT;
use crate::opening::{Opening, verify};
use crate::patience::Patience;
use crate::target::Target;
use crate::{DialError, RedirectError, Refusal};

/// Who speaks HTTP?
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// A client of the application, with redirects as it likes them.
    Given(Client),
    /// The client that all dials share, and this many redirects.
    Shared { max_redirects: usize },
}

pub(crate) async fn connect(
    via: Via,
    opening: &Opening,
    patience: Patience,
) -> Result<(Conn, Response<()>), DialError> {
    let (offer, mut answer) = patience.wait(exchange(via, opening)).await?;
    if !matches!(answer.version(), Version::HTTP_10 | Version::HTTP_11) {
        return Err(DialError::Http2);
    }
    let mut response = Response::new(());
    *response.status_mut() = answer.status();
    *response.version_mut() = answer.version();
    response.headers_mut().clone_from(answer.headers());
    if let Some(agreed) = verify(&offer, &response)? {
        let upgraded = async { answer.upgrade().await.map_err(DialError::http) };
        let io = patience.wait(upgraded).await?;
        return Ok((opening.conn(io, agreed, Bytes::new()), response));
    }
    let mut body = BytesMut::new();
    patience.wait_for_body(collect(&mut answer, &mut body)).await;
    let (head, ()) = response.into_parts();
    let body = body.freeze();
    Err(DialError::Refused(Box::new(Refusal { status: head.status, headers: head.headers, body })))
}

/// Sends the request, and again to wherever it is redirected.
///
/// Redirects are followed here, since `reqwest` follows none to `ws`, and an offer is for
/// one request.
async fn exchange(via: Via, opening: &Opening) -> Result<(Offer, reqwest::Response), DialError> {
    let limit = match via {
        Via::Given(client) => return send(&client, &opening.target, opening).await,
        Via::Shared { max_redirects } => max_redirects,
    };
    let mut target = opening.target.clone();
    let mut followed = 0;
    loop {
        let (offer, answer) = send(shared(&target)?, &target, opening).await?;
        match redirected(&target, answer.status(), answer.headers())? {
            None => return Ok((offer, answer)),
            Some(_) if followed == limit => return Err(RedirectError::TooMany(limit).into()),
            Some(next) => target = next,
        }
        followed += 1;
    }
}

async fn send(
    client: &Client,
    target: &Target,
    opening: &Opening,
) -> Result<(Offer, reqwest::Response), DialError> {
    let (offer, headers) = opening.ask(target)?;
    let request = client.get(target.url().clone()).headers(headers);
    Ok((offer, request.send().await.map_err(DialError::http)?))
}

/// Where the answer redirects to, if it does.
fn redirected(
    from: &Target,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Target>, RedirectError> {
    let location =
        headers.get(LOCATION).and_then(|location| str::from_utf8(location.as_bytes()).ok());
    match (status.as_u16(), location) {
        (301 | 302 | 303 | 307 | 308, Some(location)) => {
            let next = from.join(location)?;
            if from.is_encrypted() && !next.is_encrypted() {
                return Err(RedirectError::NotEncrypted);
            }
            Ok(Some(next))
        }
        _ => Ok(None),
    }
}

/// Reads as much of a body as is kept, or as there is.
async fn collect(answer: &mut reqwest::Response, body: &mut BytesMut) {
    while body.len() < KEPT {
        let Ok(Some(chunk)) = answer.chunk().await else { return };
        body.extend_from_slice(&chunk);
        body.truncate(KEPT);
    }
}

/// The client of all who bring none, built when it is first wanted.
///
/// Building it fails where there are no certificates to trust, as in many containers.
/// That must not keep anyone from dialling without TLS.
fn shared(target: &Target) -> Result<&'static Client, DialError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    static WITHOUT_TLS: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    if let (Some(client), false) = (WITHOUT_TLS.get(), target.is_encrypted()) {
        return Ok(client);
    }
    match plain().build() {
        Ok(client) => Ok(CLIENT.get_or_init(|| client)),
        Err(error) if target.is_encrypted() => Err(DialError::http(error)),
        Err(_) => {
            let client = plain().tls_certs_only([]).build().map_err(DialError::http)?;
            Ok(WITHOUT_TLS.get_or_init(|| client))
        }
    }
}

fn plain() -> ClientBuilder {
    Client::builder()
        .http1_only()
        // Cargo features that an application switches on in reqwest are not for us.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(redirect::Policy::none())
        // An upgraded connection is never used again, and one that idles belongs to the
        // runtime that made it, which may be gone.
        .pool_max_idle_per_host(0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn redirects_are_told_from_refusals() {
        let check = |status: u16, location: Option<&'static str>, expected: Option<&str>| {
            let from = Target::parse("wss://example.com/a").unwrap();
            let location = location.map(|url| (LOCATION, HeaderValue::from_static(url)));
            let status = StatusCode::from_u16(status).unwrap();
            let next = redirected(&from, status, &location.into_iter().collect()).unwrap();
            assert_eq!(next.as_ref().map(|next| next.url().as_str()), expected, "{status}");
        };
        for status in [301, 302, 303, 307, 308] {
            check(status, Some("/b"), Some("https://example.com/b"));
            check(status, Some("wss://b.example"), Some("https://b.example/"));
            check(status, None, None);
        }
        for status in [101, 200, 201, 300, 304, 305, 306, 404] {
            check(status, Some("/b"), None);
        }
    }

    #[test]
    fn redirects_do_not_leave_tls() {
        let from = Target::parse("wss://example.com/a").unwrap();
        let location = |url| [(LOCATION, HeaderValue::from_static(url))].into_iter().collect();
        let check = |url, text: &str| {
            let error = redirected(&from, StatusCode::FOUND, &location(url)).unwrap_err();
            assert!(error.to_string().contains(text), "{url}: {error}");
        };
        check("ws://example.com/b", "unencrypted");
        check("http://b.example", "unencrypted");
        check("ftp://example.com", "cannot be dialled");
    }
}
