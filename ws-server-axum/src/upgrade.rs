//! How does a handler of axum turn its request into a connection?

use std::fmt;
use std::future::Future;
use std::mem;
use std::net::SocketAddr;

use axum::extract::{
    ConnectInfo, FromRequestParts, OptionalFromRequestParts, OriginalUri, RawPathParams,
};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use tokio::time::Instant;
use ws_core::handler::HandlerOutput;
use ws_core::{
    AcceptOptions, BufferPool, Compression, Config, Conn, Error, Limits, Origin, PathParams,
    PeerAddr,
};
use ws_server_hyper::{accept_parts, opening};

use crate::Refused;

/// Extracts a request for a WebSocket, over HTTP/1.1 or HTTP/2.
///
/// What it says of the request does not depend on settings: a bad opening handshake is
/// [refused](Refused) before the handler runs. As `Option<WebSocketUpgrade>` it is `None`
/// for requests that ask for no WebSocket. [`on_upgrade`](Self::on_upgrade) judges the rest,
/// and gives the answer. It has to come within [`AcceptOptions::handshake_timeout`] of the
/// extraction: an answer that comes later is 408.
///
/// It begins with the [`AcceptOptions`] among the extensions of the request, where a layer
/// has put some (`Extension(options)`), and with the defaults otherwise.
///
/// ```
/// use axum::extract::Path;
/// use axum::response::Response;
/// use ws_server_axum::WebSocketUpgrade;
///
/// async fn room(Path(room): Path<String>, ws: WebSocketUpgrade) -> Response {
///     ws.protocols(["chat"])
///         .on_upgrade(async move |conn| conn.write(format!("This is {room}.")).await)
/// }
/// ```
#[must_use = "the answer is made by `on_upgrade`"]
pub struct WebSocketUpgrade<F = DefaultOnFailedUpgrade> {
    head: Box<Parts>,
    /// When the request did.
    arrived: Instant,
    offered: Vec<HeaderValue>,
    options: AcceptOptions,
    on_failed_upgrade: F,
}

impl<F> WebSocketUpgrade<F> {
    /// All settings at once, in place of those that were there.
    pub fn options(mut self, options: AcceptOptions) -> Self {
        self.options = options;
        self
    }

    /// The subprotocols that the server speaks, the preferred one first, in place of those of
    /// the options and their selector. Default: none.
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options = self.options.subprotocols(names);
        self
    }

    /// The subprotocols that the client offers, in its order.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.offered.iter()
    }

    /// The subprotocol to answer with, in place of [`protocols`](Self::protocols) and of a
    /// selector. One that the client does not offer counts as none (RFC 6455 §4.2.2).
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        let names = protocol.to_str().ok();
        self.options = mem::take(&mut self.options).subprotocols(names);
    }

    /// Which web pages may connect. Default: those of the same host.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.options = self.options.origin(origin);
        self
    }

    /// Whether to agree to compression, and how to compress. Default: off.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options = self.options.compression(compression);
        self
    }

    /// One more header for the answer that accepts, such as a cookie. Default: none.
    pub fn response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.options = self.options.response_header(name, value);
        self
    }

    /// The longest message to accept, in bytes, after decompression. Default: 1 MiB.
    pub fn max_message_size(self, bytes: usize) -> Self {
        self.limits(|limits| limits.message_size(bytes))
    }

    /// The longest frame to accept, in payload bytes. Default: as long as the message may
    /// be.
    pub fn max_frame_size(self, bytes: usize) -> Self {
        self.limits(|limits| limits.frame_size(bytes))
    }

    /// How many bytes are read at once, from 512 bytes to 65 KiB. Default: 65 KiB.
    pub fn read_buffer_size(self, bytes: usize) -> Self {
        self.config(|config| config.read_buffer(bytes))
    }

    /// At how many bytes the answers to a burst leave, rather than wait for each other until
    /// it is over. Default: 16 KiB.
    pub fn write_buffer_size(self, bytes: usize) -> Self {
        self.config(|config| config.write_batch(bytes))
    }

    /// Where the buffers come from in which bytes wait to be written. Default: the thread's
    /// own.
    pub fn write_buffer_pool(self, pool: &BufferPool) -> Self {
        self.config(|config| config.buffer_pool(pool))
    }

    /// How many written bytes may wait for a slow peer before `write` waits too. Default:
    /// 64 KiB.
    pub fn max_write_buffer_size(self, bytes: usize) -> Self {
        self.config(|config| config.write_buffer(bytes / 4, bytes))
    }

    /// What to do when there is no connection after all: the client is gone before it has
    /// read the answer, or the answer cannot be sent in time. It is not called when the
    /// answer is a refusal. Default: nothing.
    pub fn on_failed_upgrade<C: OnFailedUpgrade>(self, callback: C) -> WebSocketUpgrade<C> {
        let Self { head, arrived, offered, options, .. } = self;
        WebSocketUpgrade { head, arrived, offered, options, on_failed_upgrade: callback }
    }

    /// Answers the request. If it is found good, the handler runs in a task of its own, once
    /// the answer has been sent, and the connection is closed when it ends.
    #[must_use = "the answer has to be returned"]
    pub fn on_upgrade<C, Fut>(mut self, handler: C) -> Response
    where
        C: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
        F: OnFailedUpgrade,
    {
        match accept_parts(&mut self.head, &self.options, self.arrived) {
            Ok((response, upgrade)) => {
                let on_failed_upgrade = self.on_failed_upgrade;
                tokio::spawn(async move {
                    if let Err(error) = upgrade.serve(handler).await {
                        on_failed_upgrade.call(error);
                    }
                });
                response
            }
            Err(rejection) => Refused(rejection).into_response(),
        }
    }

    fn limits(self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.config(|config| {
            let limits = change(config.limits_setting());
            config.limits(limits)
        })
    }

    fn config(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        let config = Config::clone(&self.options.shared_config());
        self.options = self.options.config(change(config));
        self
    }
}

impl WebSocketUpgrade {
    /// Takes what is needed of a request, if it is one for a WebSocket.
    pub(crate) async fn take<S: Send + Sync>(
        head: &mut Parts,
        state: &S,
        options: Option<AcceptOptions>,
    ) -> Result<Self, Refused> {
        let arrived = Instant::now();
        let options = options.or_else(|| head.extensions.get().cloned()).unwrap_or_default();
        options.check(opening(&*head))?;
        // It has been asked, unless others are set.
        let options = options.no_filter();
        let offered = opening(&*head).subprotocols().into_iter();
        let offered = offered.filter_map(|name| HeaderValue::from_str(name).ok()).collect();
        let mut taken = Box::new(head.clone());
        if let Some(OriginalUri(uri)) = head.extensions.get() {
            // A nested router sees only the rest of it.
            taken.uri = uri.clone();
        }
        // There is one transport, and it is taken now.
        head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        if let Ok(params) = RawPathParams::from_request_parts(head, state).await {
            taken.extensions.insert(params.iter().collect::<PathParams>());
        }
        if let Ok(ConnectInfo(addr)) =
            ConnectInfo::<SocketAddr>::from_request_parts(head, state).await
            && taken.extensions.get::<PeerAddr>().is_none()
        {
            taken.extensions.insert(PeerAddr(addr));
        }
        let on_failed_upgrade = DefaultOnFailedUpgrade;
        Ok(Self { head: taken, arrived, offered, options, on_failed_upgrade })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Refused;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Refused> {
        Self::take(head, state, None).await
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Refused;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Option<Self>, Refused> {
        match Self::take(head, state, None).await {
            Ok(upgrade) => Ok(Some(upgrade)),
            Err(Refused(rejection)) if rejection.falls_through() => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("uri", &self.head.uri)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What to do when there is no connection after all. Every `FnOnce(Error)` is one.
pub trait OnFailedUpgrade: Send + 'static {
    /// Is told why.
    fn call(self, error: Error);
}

impl<F: FnOnce(Error) + Send + 'static> OnFailedUpgrade for F {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Does nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DefaultOnFailedUpgrade;

impl OnFailedUpgrade for DefaultOnFailedUpgrade {
    fn call(self, _: Error) {}
}
