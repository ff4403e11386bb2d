//! How does one HTTP/2 connection open WebSockets as streams?

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, uri};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{sleep, timeout};
use ws_core::Conn;
use ws_core::handshake::head::{MAX_HEAD, MAX_INTERIM, MAX_RESPONSE_HEADERS};
use ws_core::handshake::{HandshakeError, Offer};

use super::inbox::{Driver, Inboxes, Metered};
use super::stream::Http2Stream;
use crate::first_ready::first_ready;
use crate::native::body::{MAX_BODY, read_in_time};
use crate::native::deadline::HandshakeDeadline;
use crate::native::request::{ClientHandshake, verify};
use crate::native::transport::{AsyncStream, Established, TransportStream};
use crate::native::url::HttpUrl;
use crate::{DialError, DialStep, InvalidUrl};

/// The flow-control window of one stream, in bytes.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;

/// The maximum number of WebSockets on one connection. The window of the connection is the
/// sum of their windows, so a WebSocket that is not read never stalls the others.
const MAX_STREAMS: usize = 256;

/// The budget of h2 for buffered DATA frames, beyond which it takes the server for hostile and
/// closes the connection: 32,768 frames of one byte, as on a server of hyper with this window. The
/// frames of open WebSockets are moved before, so only those of streams that are being opened can
/// exhaust it.
const DATA_FRAME_BUDGET: usize = 8 * 1024 * 1024;

/// The maximum size of the headers of a response, as h2 counts it: each header adds 32 bytes to its
/// length (RFC 9113 §6.5.2). `verify` enforces the exact limits.
const MAX_HEADER_LIST: u32 = (MAX_HEAD + 32 * MAX_RESPONSE_HEADERS) as u32;

/// How long a reused connection may take to answer a ping when it opens a WebSocket.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last frames may take to be sent after the last WebSocket has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP/2 connection. Each of its WebSockets holds it; it is closed with the last one.
pub(crate) struct Http2Connection {
    requests: SendRequest<Bytes>,
    pings: Mutex<PingState>,
    /// A request or a ping has failed: no new WebSockets.
    is_lost: AtomicBool,
    peer: Option<SocketAddr>,
    inboxes: Inboxes,
    /// Dropped with it, which starts the close timeout.
    _open: oneshot::Sender<Infallible>,
}

/// The result of starting HTTP/2.
pub(crate) enum StartResult {
    Started(Arc<Http2Connection>),
    /// The server does not support extended CONNECT.
    Unsupported,
    /// The server accepts no streams for now (RFC 9113 §6.5.2).
    NoStreams,
}

/// The result of opening a WebSocket.
pub(crate) enum OpenResult {
    Opened(Conn),
    /// The connection was lost, or the stream refused, before the server processed the request.
    /// Another connection may be tried.
    NotProcessed(DialError),
    /// The request needs HTTP/1.1, although the server supports extended CONNECT.
    NeedsHttp1(DialError),
}

impl Http2Connection {
    /// Starts HTTP/2.
    pub(crate) async fn start(established: Established) -> Result<StartResult, h2::Error> {
        let io: Box<dyn AsyncStream> = match established.io {
            TransportStream::Tcp(io) => Box::new(io),
            TransportStream::Boxed(io) => io,
        };
        let io = Metered::new(io);
        let received = io.received();
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS as u32)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_header_list_size(MAX_HEADER_LIST)
            .handshake::<_, Bytes>(io)
            .await?;
        let Some(ping_pong) = connection.ping_pong() else { return Ok(StartResult::Unsupported) };
        let mut pings = PingState { ping_pong, is_outstanding: false };
        let inboxes = Inboxes::default();
        let mut driver = Driver { connection, received, inboxes: inboxes.clone() };
        // The first frame of a server is SETTINGS (RFC 9113 §3.4). h2 does not report it, but
        // it has arrived when the server answers a ping.
        let ended = async { Some((&mut driver).await) };
        let ponged =
            async { pings.round_trip().await.map_or_else(|error| Some(Err(error)), |()| None) };
        if let Some(ended) = first_ready(ended, ponged).await {
            ended?;
            // GOAWAY or the end of the stream. The next request reports which.
            requests.ready().await?;
            return Err(Reason::NO_ERROR.into());
        }
        let (open, closed) = oneshot::channel();
        tokio::spawn(async move {
            let closing = async {
                let _ = closed.await;
                sleep(CLOSE_TIMEOUT).await;
            };
            // Each stream reports the error itself.
            first_ready(async { drop(driver.await) }, closing).await;
        });
        if !requests.is_extended_connect_protocol_enabled() {
            return Ok(StartResult::Unsupported);
        }
        if requests.current_max_send_streams() == 0 {
            return Ok(StartResult::NoStreams);
        }
        let (pings, is_lost) = (Mutex::new(pings), AtomicBool::new(false));
        let peer = established.peer;
        Ok(StartResult::Started(Arc::new(Self {
            requests,
            pings,
            is_lost,
            peer,
            inboxes,
            _open: open,
        })))
    }

    /// Can it open one more WebSocket?
    pub(crate) fn has_capacity(self: &Arc<Self>) -> bool {
        let limit = self.requests.current_max_send_streams().min(MAX_STREAMS);
        // The caller holds one reference, each WebSocket another.
        let sockets = Arc::strong_count(self) - 1;
        // Fails after GOAWAY, and after the connection was closed.
        let ready = self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        sockets < limit && !self.is_lost.load(Relaxed) && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Opens a WebSocket. `is_new` means that this is the first one on the connection.
    pub(crate) async fn open(
        self: Arc<Self>,
        url: &HttpUrl,
        handshake: &ClientHandshake,
        deadline: HandshakeDeadline,
        is_new: bool,
    ) -> Result<OpenResult, DialError> {
        let (offer, request) = connect_request(url, handshake)?;
        let sending = async {
            let silent = async {
                match is_new {
                    true => pending().await,
                    false => self.ping_timeout().await,
                }
            };
            let sent = async { Some(self.send(request).await) };
            Ok::<_, DialError>(
                first_ready(sent, async {
                    silent.await;
                    None
                })
                .await,
            )
        };
        let sent = deadline.run(url.authority(), Some(DialStep::Response), sending).await?;
        let (response, mut send) = match sent {
            Some(Ok(Some(sent))) => sent,
            Some(Ok(None)) => return Err(HandshakeError::TooManyInterim.into()),
            Some(Err(error)) if requires_http1(&error) => {
                return Ok(OpenResult::NeedsHttp1(DialError::NoHttp2));
            }
            // Other errors of a used connection may be older than the request.
            Some(Err(error)) if is_not_processed(&error) || !(is_new || error.is_reset()) => {
                self.is_lost.store(true, Relaxed);
                return Ok(OpenResult::NotProcessed(dial_error(url, error)));
            }
            Some(Err(error)) => return Err(dial_error(url, error)),
            None => {
                self.is_lost.store(true, Relaxed);
                let error = io::Error::new(io::ErrorKind::TimedOut, "the server answers no ping");
                let error = DialError::from(error).of_server(&url.authority().host_and_port());
                return Ok(OpenResult::NotProcessed(error));
            }
        };
        let (head, mut receive) = response.into_parts();
        let response = Response::from_parts(head, ());
        if response.status().is_success() && response.headers().contains_key(CONTENT_LENGTH) {
            // The answer to CONNECT has no body, so the header means nothing (RFC 9110 §9.3.6). But
            // h2 would reset the stream after as many bytes.
            let error = "`content-length` in the answer to CONNECT limits the stream";
            return Ok(OpenResult::NeedsHttp1(DialError::Http(error.into())));
        }
        if let Some(negotiated) = verify(&offer, &response)? {
            let peer = self.peer;
            let inbox = self.inboxes.add(receive);
            let io = Http2Stream::new(send, inbox, self);
            let conn = handshake.conn(io, Bytes::new(), negotiated, response, peer);
            return Ok(OpenResult::Opened(conn));
        }
        // END_STREAM instead of a reset, if the server has ended its direction, too.
        let _ = send.send_data(Bytes::new(), true);
        // The flow-control window is not released: a whole body is shorter than that.
        let mut body = BytesMut::new();
        if !handshake.follows(&response) {
            let read = async {
                while body.len() < MAX_BODY
                    && let Some(Ok(chunk)) = receive.data().await
                {
                    body.extend_from_slice(&chunk);
                }
            };
            read_in_time(deadline, read).await;
        }
        Err(DialError::refused(response, body))
    }

    /// Sends a request, and waits for the final response. `None` if there are too many interim ones.
    async fn send(
        &self,
        request: Request<()>,
    ) -> Result<Option<(Response<RecvStream>, SendStream<Bytes>)>, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (mut response, send) = requests.send_request(request, false)?;
        let mut interim = 0;
        while poll_fn(|cx| response.poll_informational(cx)).await.transpose()?.is_some() {
            interim += 1;
            if interim > MAX_INTERIM {
                return Ok(None);
            }
        }
        Ok(Some((response.await?, send)))
    }

    /// Returns when the server does not answer a ping in time. Never returns otherwise.
    async fn ping_timeout(&self) {
        let mut pings = self.pings.lock().await;
        // The previous holder of the lock may have marked the connection as lost.
        if !self.is_lost.load(Relaxed) {
            if let Ok(Ok(())) = timeout(PING_TIMEOUT, pings.round_trip()).await {
                drop(pings);
                return pending().await;
            }
            self.is_lost.store(true, Relaxed);
        }
    }
}

/// Pings. At most one is outstanding.
struct PingState {
    ping_pong: PingPong,
    is_outstanding: bool,
}

impl PingState {
    /// Sends a ping and waits for the pong.
    async fn round_trip(&mut self) -> Result<(), h2::Error> {
        if self.is_outstanding {
            // Its sender was cancelled while it waited.
            self.pong().await?;
        }
        self.ping_pong.send_ping(Ping::opaque())?;
        self.is_outstanding = true;
        self.pong().await
    }

    async fn pong(&mut self) -> Result<(), h2::Error> {
        poll_fn(|cx| self.ping_pong.poll_pong(cx)).await?;
        self.is_outstanding = false;
        Ok(())
    }
}

/// An extended CONNECT request (RFC 8441 §4). A `Host` header becomes `:authority`.
fn connect_request(
    url: &HttpUrl,
    handshake: &ClientHandshake,
) -> Result<(Offer, Request<()>), DialError> {
    let (offer, mut headers) = handshake.offer(url)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = url.uri().clone();
    if let Some(host) = headers.remove(HOST) {
        let uri = uri::Builder::from(url.uri().clone()).authority(host.as_bytes()).build();
        *request.uri_mut() = uri.or(Err(InvalidUrl::Uri))?;
    }
    headers.extend(offer.connect_headers());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    Ok((offer, request))
}

/// Has the server refused the request before it processed it (RFC 9113 §8.7)?
pub(super) fn is_not_processed(error: &h2::Error) -> bool {
    let refused = if error.is_go_away() { Reason::NO_ERROR } else { Reason::REFUSED_STREAM };
    error.is_remote() && error.reason() == Some(refused)
}

/// Does the server ask for HTTP/1.1 (RFC 9113 §7)?
pub(super) fn requires_http1(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED)
}

/// The error of the HTTP/2 connection to the server of a URL.
pub(super) fn dial_error(url: &HttpUrl, error: h2::Error) -> DialError {
    let error = match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()).into(),
        false => DialError::Http(error.into()),
    };
    error.of_server(&url.authority().host_and_port())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_reads_nothing_does_not_keep_a_connection() {
        // Too small for GOAWAY.
        let (client, mut server) = duplex(16);
        let io = TransportStream::Boxed(Box::new(client));
        let starting = Http2Connection::start(Established { io, peer: None, is_http2: true });
        let started = {
            let mut builder = h2::server::Builder::new();
            let serving = async {
                let mut serving = builder
                    .enable_connect_protocol()
                    .handshake::<_, Bytes>(&mut server)
                    .await
                    .unwrap();
                assert!(serving.accept().await.is_none());
                unreachable!()
            };
            first_ready(starting, serving).await
        };
        let Ok(StartResult::Started(connection)) = started else { panic!("it has not started") };
        drop(connection);
        sleep(CLOSE_TIMEOUT + Duration::from_secs(1)).await; // tidy: sleep is the subject
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() <= 16, "it was kept: {} bytes", rest.len());
    }
}
