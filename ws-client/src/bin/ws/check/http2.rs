//! Does a server take WebSockets over HTTP/2 (RFC 8441)?

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::ext::Protocol;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use ws_client::http::{HeaderMap, Method, Request, Uri, Version};
use ws_client::{Compression, http};
use ws_core::handshake::Offer;

use crate::reach::{Reach, complete};

/// What was found out, and whether it is a WebSocket.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) opened: bool,
}

impl Verdict {
    fn no(text: impl Into<String>) -> Result<Self> {
        Ok(Self { text: text.into(), opened: false })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Asks the server, over a connection of its own.
pub(super) async fn probe(reach: &Reach, url: &str) -> Result<Verdict> {
    if reach.has_proxy() {
        return Verdict::no("not tried through a proxy");
    }
    let patience = reach.connect_timeout().min(Duration::from_secs(10));
    let url = complete(url).replacen("ws", "http", 1);
    let url: Uri = url.parse().context("the URL cannot be asked for over HTTP/2")?;
    timeout(patience, ask(reach, &url)).await.context("it took too long")?
}

async fn ask(reach: &Reach, url: &Uri) -> Result<Verdict> {
    let host = url.host().unwrap_or_default();
    let encrypted = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = if encrypted {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let tls = TlsConnector::from(Arc::new(reach.tls()?)).connect(name, stream).await?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Verdict::no("no: the server does not choose h2 (ALPN)");
        }
        Box::new(tls)
    } else {
        Box::new(stream)
    };
    let Ok((requests, mut conn)) = h2::client::handshake(stream).await else {
        return Verdict::no("no: the server does not speak it");
    };
    let exchange = settings_and_answer(reach, url, requests, &mut conn);
    exchange.await
}

/// Waits for the settings of the server, and opens a WebSocket if they allow it.
async fn settings_and_answer(
    reach: &Reach,
    url: &Uri,
    requests: SendRequest<Bytes>,
    conn: &mut Connection<Box<dyn Stream>, Bytes>,
) -> Result<Verdict> {
    // The pong comes behind the settings.
    let mut pings = conn.ping_pong().ok_or_else(|| anyhow!("no ping"))?;
    let settled = select! {
        pong = pings.ping(h2::Ping::opaque()) => pong.is_ok(),
        // What is not HTTP/2 ends it.
        _ = &mut *conn => false,
    };
    if !settled {
        return Verdict::no("no: the server does not speak it");
    }
    if !requests.is_extended_connect_protocol_enabled() {
        return Verdict::no("yes, but without WebSockets (no SETTINGS_ENABLE_CONNECT_PROTOCOL)");
    }
    let status = select! {
        status = open(reach, url, requests) => status?,
        ended = conn => {
            ended?;
            bail!("the connection ended before there was an answer");
        }
    };
    Ok(Verdict { opened: status.is_success(), text: format!("{status} to an extended CONNECT") })
}

async fn open(reach: &Reach, url: &Uri, requests: SendRequest<Bytes>) -> Result<http::StatusCode> {
    let offer = Offer::new(reach.subprotocols(), Compression::context_takeover())?;
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = url.clone();
    *request.version_mut() = Version::HTTP_2;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let headers = request.headers_mut();
    *headers = offer.connect_headers();
    reach.add_headers(headers)?;
    ensure_no_connection_headers(headers)?;
    let (response, _stream) = requests.ready().await?.send_request(request, false)?;
    let response = response.await?;
    let status = response.status();
    if status.is_success() {
        offer.verify(&response).context("the answer does not belong to the offer")?;
    }
    Ok(status)
}

fn ensure_no_connection_headers(headers: &HeaderMap) -> Result<()> {
    let forbidden = [http::header::CONNECTION, http::header::HOST, http::header::UPGRADE];
    let found = forbidden.iter().find(|name| headers.contains_key(*name));
    ensure!(
        found.is_none(),
        "{} is not for HTTP/2 (--header)",
        found.map_or("", |name| name.as_str())
    );
    Ok(())
}
