//! How does an axum handler extract a WebSocket request and upgrade it?

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use tokio::time::Instant;
use ws_core::Acceptor;
use ws_core::adapter::report_refusal;
use ws_core::handler::HandlerOutput;
use ws_core::redact::Redacted;
use ws_core::{AcceptOptions, BufferPool, Compression, Conn, Error, Origin};
use ws_server_hyper::{accept_parts, handshake_request};

use crate::UpgradeRejection;
use crate::nested::{add_peer_addr, path_params, restore_uri};
use crate::settings::HandlerSettings;

/// Extractor of a WebSocket request, over HTTP/1.1 or HTTP/2.
///
/// The extractor validates the opening handshake, and rejects an invalid one with
/// [`UpgradeRejection`] before the handler runs. `Option<WebSocketUpgrade>` is `None` for requests
/// that do not ask for a WebSocket. [`on_upgrade`](Self::on_upgrade) applies the settings (origin,
/// subprotocols, compression, limits) and returns the response. Return it within
/// [`AcceptOptions::handshake_timeout`] after the extraction. A later response is 408.
///
/// The setters can be chained, in any order: each takes precedence over the
/// [`options`](Self::options). If a layer adds [`AcceptOptions`] to the extensions of the request
/// (`Extension(options)`), these are the initial options. Otherwise the defaults apply.
///
/// An ordinary GET is rejected with 426. With the options of a layer, it is rejected with the reason
/// for which they refuse a handshake now, such as 429, so that a page can ask why its handshake fails.
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
#[must_use = "the response is created by `on_upgrade`"]
pub struct WebSocketUpgrade<F = DefaultOnFailedUpgrade> {
    parts: Box<Parts>,
    received_at: Instant,
    requested_protocols: Vec<HeaderValue>,
    options: AcceptOptions,
    settings: HandlerSettings,
    on_failed_upgrade: F,
}

impl<F> WebSocketUpgrade<F> {
    /// The options of the handshake and the connection. Replaces those of a layer. The other
    /// setters take precedence over the options, in whichever order they are called. Default:
    /// [`AcceptOptions::new`].
    ///
    /// The extractor has refused malformed handshakes before, so they do not count for the
    /// [limits](AcceptOptions::limits) of these options. Limits that count them are those of a layer.
    pub fn options(mut self, options: AcceptOptions) -> Self {
        self.options = options;
        self
    }

    /// The subprotocols that the server supports, in order of preference. They take precedence
    /// over the subprotocols and the selector of the options. Default: those of the options.
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.set_protocols(names);
        self
    }

    /// The address of the client, as [`Conn::peer_addr`] will return it, with the
    /// [trusted proxies](AcceptOptions::trusted_proxies) of the settings so far. `None` if the server
    /// does not know it, as on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        Acceptor::new(&self.options).peer_addr(handshake_request(&*self.parts))
    }

    /// Rejects clients that offer none of the supported subprotocols, with 400. Default: as
    /// [`AcceptOptions::require_subprotocol`].
    pub const fn require_subprotocol(mut self) -> Self {
        self.settings.require_subprotocol = true;
        self
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.requested_protocols.iter()
    }

    /// Selects the subprotocol. Replaces [`protocols`](Self::protocols) and a selector. If the
    /// client does not offer it, no subprotocol is selected (RFC 6455 §4.2.2).
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.set_protocols(protocol.to_str().ok());
    }

    fn set_protocols(&mut self, names: impl IntoIterator<Item = impl Into<String>>) {
        self.settings.protocols = Some(names.into_iter().map(Into::into).collect());
    }

    /// The allowed values of the `Origin` header. Default: as [`AcceptOptions::origin`], which is
    /// the same host.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.settings.origin = Some(origin);
        self
    }

    /// Whether and how to negotiate compression (RFC 7692). Default: as
    /// [`AcceptOptions::compression`], which is off.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = Some(compression);
        self
    }

    /// Adds a header, such as `Set-Cookie`, to the response with which the server accepts a
    /// request, beside those of the options. Default: none.
    pub fn response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.settings.response_headers.push((name, value));
        self
    }

    /// Maximum size of a received message in bytes, after decompression. Default: 1 MiB.
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.message_size = Some(bytes);
        self
    }

    /// Maximum payload size of a received frame in bytes. Default: as
    /// [`Limits::frame_size`](ws_core::Limits::frame_size).
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.settings.frame_size = Some(bytes);
        self
    }

    /// Size of the read buffer, 512 bytes to 65 KiB. Default: 65 KiB.
    pub const fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.settings.read_buffer = Some(bytes);
        self
    }

    /// The number of queued bytes at which deferred messages are sent: see
    /// [`Config::write_batch`](ws_core::Config::write_batch). Default: 16 KiB.
    pub const fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.settings.write_batch = Some(bytes);
        self
    }

    /// The pool of the write buffers. Default: a cache per thread.
    pub fn write_buffer_pool(mut self, pool: &BufferPool) -> Self {
        self.settings.buffer_pool = Some(pool.clone());
        self
    }

    /// High watermark of the send buffer in bytes: above it, `write` waits for the peer. The low
    /// watermark is a quarter of it. Default: 64 KiB and 16 KiB.
    pub const fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.settings.write_buffer = Some(bytes);
        self
    }

    /// Callback for a failed upgrade: the client disconnected before the response was sent, or
    /// the handshake timeout passed. It is not called for rejections. Default: none.
    pub fn on_failed_upgrade<C: OnFailedUpgrade>(self, callback: C) -> WebSocketUpgrade<C> {
        let Self { parts, received_at, requested_protocols, options, settings, .. } = self;
        let on_failed_upgrade = callback;
        WebSocketUpgrade {
            parts,
            received_at,
            requested_protocols,
            options,
            settings,
            on_failed_upgrade,
        }
    }

    /// Accepts or rejects the request, and returns the response.
    ///
    /// If it is accepted, the handler runs in a spawned task after the response was sent. The
    /// connection closes when the handler ends: with 1000, or with 1011 after an error or panic.
    #[must_use = "return the response from the handler"]
    pub fn on_upgrade<C, Fut>(mut self, handler: C) -> Response
    where
        C: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let options = self.settings.apply(self.options);
        match accept_parts(&mut self.parts, &options, self.received_at) {
            Ok((response, upgrade)) => {
                let on_failed_upgrade = self.on_failed_upgrade;
                tokio::spawn(upgrade.serve_or(handler, |error| on_failed_upgrade.call(error)));
                response
            }
            Err(rejection) => UpgradeRejection(rejection).into_response(),
        }
    }
}

impl WebSocketUpgrade {
    /// Validates a request, and copies from it what `on_upgrade` needs.
    pub(crate) async fn extract<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
        options: Option<AcceptOptions>,
        others: OtherRequests,
    ) -> Result<Self, UpgradeRejection> {
        let received_at = Instant::now();
        let options = options.or_else(|| parts.extensions.get().cloned()).unwrap_or_default();
        add_peer_addr(parts, state).await;
        let acceptor = Acceptor::new(&options);
        if let Err(rejection) = acceptor.check(handshake_request(&*parts)) {
            let rejection = acceptor.refuse(handshake_request(&*parts), rejection);
            let rejection = match others {
                OtherRequests::Explained => acceptor.explain(handshake_request(&*parts), rejection),
                OtherRequests::PassedOn | OtherRequests::Refused => rejection,
            };
            if !rejection.falls_through() || others != OtherRequests::PassedOn {
                report_refusal(&acceptor, handshake_request(&*parts), &rejection);
            }
            return Err(rejection.into());
        }
        // `check` has called it. Options that are set later have their own.
        let options = options.no_filter();
        let offered = handshake_request(&*parts).subprotocols().into_iter();
        let requested_protocols =
            offered.filter_map(|name| HeaderValue::from_str(name).ok()).collect();
        let mut copy = Box::new(parts.clone());
        restore_uri(&mut copy);
        // Only the copy may take the transport over.
        parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        if let Some(params) = path_params(parts, state).await {
            copy.extensions.insert(params);
        }
        Ok(Self {
            parts: copy,
            received_at,
            requested_protocols,
            options,
            settings: HandlerSettings::default(),
            on_failed_upgrade: DefaultOnFailedUpgrade,
        })
    }
}

/// What happens to requests that do not ask for a WebSocket here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherRequests {
    PassedOn,
    Refused,
    /// Refused, for the reason for which a handshake would be.
    Explained,
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = UpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, UpgradeRejection> {
        // Without a layer, the settings are not known before the handler runs.
        let others = match parts.extensions.get::<AcceptOptions>() {
            Some(_) => OtherRequests::Explained,
            None => OtherRequests::Refused,
        };
        Self::extract(parts, state, None, others).await
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = UpgradeRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, UpgradeRejection> {
        match Self::extract(parts, state, None, OtherRequests::PassedOn).await {
            Ok(upgrade) => Ok(Some(upgrade)),
            Err(UpgradeRejection(rejection)) if rejection.falls_through() => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("uri", &Redacted(&self.parts.uri))
            .field("options", &self.settings.clone().apply(self.options.clone()))
            .finish_non_exhaustive()
    }
}

/// A callback for a failed upgrade. Implemented for every `FnOnce(Error)`.
pub trait OnFailedUpgrade: Send + 'static {
    /// Called with the cause.
    fn call(self, error: Error);
}

impl<F: FnOnce(Error) + Send + 'static> OnFailedUpgrade for F {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Ignores a failed upgrade.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DefaultOnFailedUpgrade;

impl OnFailedUpgrade for DefaultOnFailedUpgrade {
    fn call(self, _: Error) {}
}
