//! How does a handler run, and how is its connection closed?

use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::Method;
use tracing::Level;

use super::HandlerOutput;
use super::limits::{ConnectionLimits, LimitSlot};
use super::panic::{Catch, Caught, HandlerPanic};
use super::tracker::{ConnectionTracker, TrackedSlot};
use crate::handshake::{HandshakeRequest, catch_panic};
use crate::{AcceptOptions, Acceptor, Conn, Escaped, Rejection, StatusCode};

type Recover = dyn Fn(HandlerPanic) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The options of this layer, carried by [`AcceptOptions`].
#[derive(Clone, Default)]
struct HandlerOptions {
    recover: Option<Arc<Recover>>,
    tracker: Option<ConnectionTracker>,
    limits: Option<ConnectionLimits>,
}

impl AcceptOptions {
    /// Sets a hook that runs when a handler has panicked, before the connection is closed with
    /// 1011. The connection is still open, so the hook can write a last message. A panic of the
    /// hook is caught too. Default: log the payload and a backtrace through `tracing`.
    ///
    /// ```
    /// # use ws_core::AcceptOptions;
    /// let options = AcceptOptions::new().on_panic(|panicked| async move {
    ///     let _ = panicked.conn.write("sorry").await;
    /// });
    /// ```
    pub fn on_panic<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(HandlerPanic) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook: Arc<Recover> = Arc::new(move |panicked| Box::pin(hook(panicked)));
        self.change_handler_options(|options| options.recover = Some(hook))
    }

    /// Sets the tracker that counts the connections, so that they can be
    /// [drained](ConnectionTracker::drain) when the server stops. Default: none.
    pub fn tracker(self, tracker: &ConnectionTracker) -> Self {
        self.change_handler_options(|options| options.tracker = Some(tracker.clone()))
    }

    /// Sets the limits of the server: how many connections it accepts, in all and from each client.
    /// Default: none.
    pub fn limits(self, limits: &ConnectionLimits) -> Self {
        self.change_handler_options(|options| options.limits = Some(limits.clone()))
    }

    /// Removes the limits. For adapters that have already applied them to the client.
    pub fn no_limits(self) -> Self {
        self.change_handler_options(|options| options.limits = None)
    }

    fn change_handler_options(self, change: impl FnOnce(&mut HandlerOptions)) -> Self {
        self.change_extensions(|extensions| change(extensions.get_or_insert_default()))
    }
}

impl Acceptor {
    /// Admits one more connection. For adapters, after they have accepted this request. If they do
    /// not accept it, they call [`refuse`](Self::refuse) instead: either counts the handshake.
    ///
    /// # Errors
    ///
    /// [`Rejection::ShuttingDown`] when the [`tracker`](AcceptOptions::tracker) is being drained,
    /// and the reasons of [`ConnectionLimits`].
    pub fn admit_request<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
    ) -> Result<ConnectionGuard, Rejection> {
        let mut guard = self.admit()?;
        let options = self.options().extensions().get::<HandlerOptions>();
        if let Some(limits) = options.and_then(|options| options.limits.as_ref()) {
            let request = request.into();
            let admit = || limits.admit(&request, self.peer_addr(request));
            guard.limits = Some(Box::new(catch_panic(admit)?));
        }
        Ok(guard)
    }

    /// Counts a handshake that is refused for this reason, and returns the reason to answer with:
    /// beyond [`ConnectionLimits::handshakes_per_second`], that is
    /// [`Rejection::TooManyHandshakes`]. For adapters, once for each handshake that
    /// [`answer`](Self::answer), [`check`](Self::check) or [`check_http`](Self::check_http) refuses.
    /// A request that another route may serve is not counted.
    pub fn refuse<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
        rejection: Rejection,
    ) -> Rejection {
        match rejection.falls_through() {
            true => rejection,
            false => self.count_refused(request).err().unwrap_or(rejection),
        }
    }

    /// Counts a handshake that is refused, as [`refuse`](Self::refuse). For adapters of other
    /// transports, whose reasons are not a [`Rejection`].
    ///
    /// # Errors
    ///
    /// [`Rejection::TooManyHandshakes`] beyond
    /// [`ConnectionLimits::handshakes_per_second`].
    pub fn count_refused<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
    ) -> Result<(), Rejection> {
        let options = self.options().extensions().get::<HandlerOptions>();
        let limits = options.and_then(|options| options.limits.as_ref());
        limits.map_or(Ok(()), |limits| limits.count_handshake(self.peer_addr(request)))
    }

    /// As [`admit_request`](Self::admit_request) without a request. The limits do not apply.
    ///
    /// # Errors
    ///
    /// [`Rejection::ShuttingDown`] when the [`tracker`](AcceptOptions::tracker) is being drained.
    pub fn admit(&self) -> Result<ConnectionGuard, Rejection> {
        let Some(options) = self.options().extensions().get::<HandlerOptions>() else {
            return Ok(ConnectionGuard { recover: None, slot: None, limits: None });
        };
        let admit = |tracker: &ConnectionTracker| tracker.admit().ok_or(Rejection::ShuttingDown);
        let slot = options.tracker.as_ref().map(admit).transpose()?;
        Ok(ConnectionGuard { recover: options.recover.clone(), slot, limits: None })
    }
}

impl Acceptor {
    /// What an adapter answers an ordinary GET that it refuses: the reason for which it would refuse
    /// a handshake of this client now, or else `rejection`. For requests of a page that asks why its
    /// handshake fails, which a browser does not tell.
    ///
    /// The reasons are an `Origin` that is not allowed, a [`tracker`](AcceptOptions::tracker) that is
    /// closed, and the [`limits`](AcceptOptions::limits). The request does not count for the limits.
    /// A browser sends no `Origin` with a GET to the host of the page: then the origin is that of
    /// `Referer`, unless the user has followed a link (`Sec-Fetch-Mode: navigate`).
    /// Other rejections, and other methods, are returned as they are.
    pub fn explain<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
        rejection: Rejection,
    ) -> Rejection {
        let request = request.into();
        let is_ordinary = matches!(rejection, Rejection::NotUpgrade | Rejection::NotConnect);
        if !is_ordinary || request.method() != Method::GET {
            return rejection;
        }
        let check = || {
            self.check_page(&request)?;
            let Some(options) = self.options().extensions().get::<HandlerOptions>() else {
                return Ok(());
            };
            if options.tracker.as_ref().is_some_and(ConnectionTracker::is_closed) {
                return Err(Rejection::ShuttingDown);
            }
            let Some(limits) = &options.limits else { return Ok(()) };
            limits.check(&request, self.peer_addr(request))
        };
        catch_panic(check).err().unwrap_or(rejection)
    }
}

/// Keeps an admitted connection in its [`ConnectionTracker`] and its [`ConnectionLimits`] until the
/// guard is dropped. Made by [`Acceptor::admit_request`].
#[must_use = "it counts the connection, and runs its handler"]
pub struct ConnectionGuard {
    recover: Option<Arc<Recover>>,
    slot: Option<TrackedSlot>,
    limits: Option<Box<LimitSlot>>,
}

impl ConnectionGuard {
    /// Runs a handler to its end, and then closes the connection: with 1000 when the handler
    /// returns, and with 1011 when it returns an error or panics.
    ///
    /// A panic is caught and passed to the hook of [`AcceptOptions::on_panic`]. When the
    /// timeout of a drain has passed, the handler is dropped and the transport is aborted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler, and its handle of the connection.
    pub fn run<F, Fut>(self, conn: Conn, handler: F) -> impl Future<Output = ()>
    where
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        // Boxed, and freed before the handler runs.
        Self::connect_and_run(Box::pin(ready(Ok((conn, self)))), handler, || ())
    }

    /// Waits for a connection, and runs a handler as [`run`](Self::run) does. If there is no
    /// connection, returns the error of `connecting`; else, the result of `ended` once the connection
    /// is closed. For adapters: a task that is polled for each message gets by with one future.
    ///
    /// # Cancel safety
    ///
    /// As those of `connecting` and [`run`](Self::run).
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for its arguments twice"
    )]
    pub fn connect_and_run<C, F, Fut, T>(
        connecting: C,
        handler: F,
        ended: impl FnOnce() -> T,
    ) -> impl Future<Output = T>
    where
        C: Future<Output = Result<(Conn, Self), T>>,
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        async move {
            let (conn, guard) = match connecting.await {
                Ok(connected) => connected,
                Err(output) => return output,
            };
            if !guard.attach(&conn) {
                // Boxed, since it is rare.
                Box::pin(conn.closed()).await;
                return ended();
            }
            let given = conn.clone();
            // In the future, since the call itself may panic too.
            let handled = async { handler(given).await.into_error() };
            let mut handled = Catch::within(conn.span(), handled);
            let Some(outcome) = guard.until_aborted(Pin::new(&mut handled)).await else {
                conn.close_now();
                return ended();
            };
            drop(handled);
            let Some(outcome) = end_at_once(&conn, outcome) else { return ended() };
            // Boxed after the handler has run, so that it reserves no memory before.
            let mut ending = Box::pin(guard.end(&conn, outcome));
            if guard.until_aborted(ending.as_mut()).await.is_none() {
                conn.close_now();
            }
            ended()
        }
    }

    /// Closes the connection by the result of the handler.
    async fn end(&self, conn: &Conn, outcome: Outcome) {
        let code = match outcome {
            Ok(error) => {
                error.iter().for_each(|error| log(conn, error));
                close_code(error.as_deref())
            }
            Err(caught) => {
                self.recover(HandlerPanic::new(conn.clone(), caught)).await;
                StatusCode::INTERNAL_ERROR
            }
        };
        // The connection records how it ended.
        let _ = conn.close(code, "").await;
    }

    /// Waits for a future. `None` when the timeout of a drain passes first. For adapters that
    /// wait for a transport.
    ///
    /// # Cancel safety
    ///
    /// As that of `future`.
    pub async fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.until_aborted(pin!(future)).await
    }

    /// Waits until the timeout of a drain has passed. Never resolves without a tracker. For adapters
    /// whose future holds the guard.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        let aborted = self.slot.as_ref().map(TrackedSlot::aborted);
        async move {
            match aborted {
                Some(aborted) => aborted.await,
                None => pending().await,
            }
        }
    }

    /// Runs a session that has no connection to its end, such as one of HTTP long-polling. `None`
    /// when the timeout of a drain passes first. For adapters of other transports.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the session.
    pub async fn run_session<F: Future>(self, session: F) -> Option<F::Output> {
        let _session = self.slot.as_ref().map(TrackedSlot::session);
        self.until_aborted(pin!(session)).await
    }

    fn until_aborted<F: Future>(
        &self,
        mut future: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        let mut aborted = self.slot.as_ref().map(|slot| Box::pin(slot.aborted()));
        poll_fn(move |cx| match (future.as_mut().poll(cx), &mut aborted) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(aborted)) => aborted.as_mut().poll(cx).map(|()| None),
        })
    }

    /// Counts the connection until its last handle is dropped; only the application ends it.
    /// For adapters that run no handler.
    pub fn release(self, conn: &Conn) {
        self.attach(conn);
        if self.slot.is_some() || self.limits.is_some() {
            conn.hold((self.slot, self.limits));
        }
    }

    /// Sets the connection of the slot. `false` when the tracker is closed.
    fn attach(&self, conn: &Conn) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.attach(conn))
    }

    async fn recover(&self, panicked: HandlerPanic) {
        let Some(recover) = &self.recover else { return panicked.log() };
        let conn = panicked.conn.clone();
        if let Err(caught) = Catch::new(async { recover(panicked).await }).await {
            HandlerPanic::new(conn, caught).log();
        }
    }
}

impl_debug!(ConnectionGuard, this => { tracked: this.slot.is_some() });

/// The result of a handler: the text of its error, or its panic.
type Outcome = Result<Option<String>, Caught>;

/// Ends a connection for which there is nothing to wait, since it has ended. Returns the outcome of
/// others.
fn end_at_once(conn: &Conn, outcome: Outcome) -> Option<Outcome> {
    match outcome {
        Ok(error) if conn.has_ended() => {
            error.iter().for_each(|error| log(conn, error));
            conn.begin_close(close_code(error.as_deref()));
            None
        }
        outcome => Some(outcome),
    }
}

/// The close code for the result of a handler.
const fn close_code(error: Option<&str>) -> StatusCode {
    match error {
        None => StatusCode::NORMAL_CLOSURE,
        Some(_) => StatusCode::INTERNAL_ERROR,
    }
}

/// Logs the error of a handler.
fn log(conn: &Conn, error: &str) {
    let Some(end) = conn.close_info() else {
        let error = Escaped::new(error);
        return tracing::warn!(conn = conn.id(), %error, "handler failed");
    };
    // Most handlers return the error of the connection, which was logged.
    if tracing::enabled!(Level::DEBUG) && end.error.to_string() != error {
        tracing::debug!(conn = conn.id(), error = %Escaped::new(error), "handler ended");
    }
}
