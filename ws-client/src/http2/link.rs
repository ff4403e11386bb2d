//! What is a connection of HTTP/2 that carries sockets?

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
use http::header::HOST;
use http::{Method, Request, Response, Uri};
use tokio::sync::Mutex;
use tokio::time::timeout;
use ws_core::Conn;
use ws_core::handshake::Offer;
use ws_core::handshake::head::MAX_HEAD;

use super::stream::Http2Stream;
use crate::body::KEPT;
use crate::opening::{Opening, refused, verify};
use crate::patience::Patience;
use crate::reach::{Reached, Stream, Transport};
use crate::target::Target;
use crate::{DialError, InvalidUrl, redirect};

/// How many bytes a server may send on one stream before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many sockets share a connection. Its window is as wide as those of all of them, so
/// that one which is not read never stalls the others.
const SOCKETS: usize = 256;

/// What frames with few bytes may take beside those, before the server is taken for hostile
/// and the connection is closed: for each socket, room for as many messages of 50 bytes as fit
/// into its window. h2's own guess is too small for twenty that are not read.
const SMALL_FRAMES: usize = 256 * 1024 * SOCKETS;

/// How long a connection that was there may say nothing to a new socket.
const SILENCE: Duration = Duration::from_secs(5);

/// A connection, which ends with the last of its sockets: each holds it.
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    pings: Mutex<Pings>,
    /// It answers no more.
    is_lost: AtomicBool,
    peer: Option<SocketAddr>,
}

/// What came of a socket to be opened.
pub(crate) enum Opened {
    Conn(Conn),
    /// Nothing, because the connection has gone meanwhile. Another one may do.
    LinkLost,
}

impl Link {
    /// Begins to speak HTTP/2; `None` if the server allows no extended CONNECT.
    pub(crate) async fn begin(reached: Reached) -> Result<Option<Arc<Self>>, DialError> {
        let io: Box<dyn Stream> = match reached.io {
            Transport::Tcp(io) => Box::new(io),
            Transport::Other(io) => io,
        };
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * SOCKETS as u32)
            .data_frame_budget(SMALL_FRAMES)
            .max_header_list_size(MAX_HEAD as u32)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(failed)?;
        let Some(ping_pong) = connection.ping_pong() else { return Ok(None) };
        let mut pings = Pings { ping_pong, is_out: false };
        // The first words of a server are its settings (RFC 9113 §3.4). Nobody says when
        // they are here, but an answer comes after them.
        tokio::select! {
            biased;
            ended = &mut connection => {
                ended.map_err(failed)?;
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            answered = pings.round_trip() => answered.map_err(failed)?,
        }
        // Each socket hears of an error itself.
        tokio::spawn(async { drop(connection.await) });
        let is_allowed = requests.is_extended_connect_protocol_enabled()
            && requests.current_max_send_streams() > 0;
        Ok(is_allowed.then(|| {
            let (pings, is_lost) = (Mutex::new(pings), AtomicBool::new(false));
            Arc::new(Self { requests, pings, is_lost, peer: reached.peer })
        }))
    }

    /// May it carry one more socket?
    pub(crate) fn has_room(self: &Arc<Self>) -> bool {
        let limit = self.requests.current_max_send_streams().min(SOCKETS);
        // One of those who hold it is the one who asks.
        let sockets = Arc::strong_count(self) - 1;
        // It fails when the server wants to leave, or has left.
        let ready = self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        sockets < limit && !self.is_lost.load(Relaxed) && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Opens a socket.
    pub(crate) async fn open(
        self: Arc<Self>,
        target: &Target,
        opening: &Opening,
        patience: Patience,
        fresh: bool,
    ) -> Result<Opened, DialError> {
        let (offer, request) = request(target, opening)?;
        let asked = async {
            tokio::select! {
                biased;
                asked = self.ask(request) => Ok::<_, DialError>(Some(asked)),
                () = self.falls_silent(), if !fresh => Ok(None),
            }
        };
        let (response, send) = match patience.wait(asked).await? {
            Some(Ok(asked)) => asked,
            Some(Err(error)) if fresh || !is_of_link(&error) => return Err(failed(error)),
            Some(Err(_)) | None => {
                self.is_lost.store(true, Relaxed);
                return Ok(Opened::LinkLost);
            }
        };
        let (head, mut receive) = response.into_parts();
        let response = Response::from_parts(head, ());
        if let Some(agreed) = verify(&offer, &response)? {
            let peer = self.peer;
            let io = Http2Stream::new(send, receive, self);
            return Ok(Opened::Conn(opening.conn(io, Bytes::new(), agreed, response, peer)));
        }
        let mut body = BytesMut::new();
        if redirect::location(response.status(), response.headers()).is_none() {
            patience.wait_for_body(collect(&mut receive, &mut body)).await;
        }
        Err(refused(response, body.freeze()))
    }

    async fn ask(
        &self,
        request: Request<()>,
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, send) = requests.send_request(request, false)?;
        Ok((response.await?, send))
    }

    /// Waits for ever, unless the server does not even answer a ping.
    async fn falls_silent(&self) {
        let mut pings = self.pings.lock().await;
        // Who had the lock may have found out.
        if !self.is_lost.load(Relaxed) {
            if let Ok(Ok(())) = timeout(SILENCE, pings.round_trip()).await {
                drop(pings);
                return pending().await;
            }
            self.is_lost.store(true, Relaxed);
        }
    }
}

/// Pings, of which one may be under way.
struct Pings {
    ping_pong: PingPong,
    is_out: bool,
}

impl Pings {
    /// Waits for the answer to a ping that is sent now.
    async fn round_trip(&mut self) -> Result<(), h2::Error> {
        if self.is_out {
            // Whoever sent it did not wait.
            self.pong().await?;
        }
        self.ping_pong.send_ping(Ping::opaque())?;
        self.is_out = true;
        self.pong().await
    }

    async fn pong(&mut self) -> Result<(), h2::Error> {
        poll_fn(|cx| self.ping_pong.poll_pong(cx)).await?;
        self.is_out = false;
        Ok(())
    }
}

/// An extended CONNECT (RFC 8441 §4). What is set as `Host` is said in `:authority`.
fn request(target: &Target, opening: &Opening) -> Result<(Offer, Request<()>), DialError> {
    let (offer, mut headers) = opening.ask(target)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = target.uri().clone();
    if let Some(host) = headers.remove(HOST) {
        let mut parts = target.uri().clone().into_parts();
        parts.authority = Some(host.as_bytes().try_into().or(Err(InvalidUrl::Uri))?);
        *request.uri_mut() = Uri::from_parts(parts).or(Err(InvalidUrl::Uri))?;
    }
    headers.extend(offer.connect_headers());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    Ok((offer, request))
}

/// Is the connection the reason, or a server that has not looked at the request
/// (RFC 9113 §8.7), so that it may be sent again?
fn is_of_link(error: &h2::Error) -> bool {
    !error.is_reset() || error.reason() == Some(Reason::REFUSED_STREAM)
}

fn failed(error: h2::Error) -> DialError {
    if !error.is_io() {
        return DialError::Http(error.into());
    }
    error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()).into()
}

/// Reads as much of a body as is kept, or as there is.
async fn collect(receive: &mut RecvStream, body: &mut BytesMut) {
    while body.len() < KEPT {
        let Some(Ok(chunk)) = receive.data().await else { return };
        // It is less than the window, which nobody will use again.
        body.extend_from_slice(&chunk);
        body.truncate(KEPT);
    }
}
