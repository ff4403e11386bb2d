//! How is the panic of a handler caught and reported?

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::thread;

use tracing::{Span, field};

use crate::{Conn, Escaped, RequestInfo};

/// The panic of a handler, passed to the hook of
/// [`AcceptOptions::on_panic`](crate::AcceptOptions::on_panic).
#[non_exhaustive]
pub struct HandlerPanic {
    /// The connection, still open: the hook may write to it.
    pub conn: Conn,
    /// The request of the opening handshake, unless it was taken or not kept.
    pub request: Option<Arc<RequestInfo>>,
    /// The payload of the panic.
    pub payload: Box<dyn Any + Send>,
    /// Where the handler panicked; `None` when the application has replaced the panic hook of
    /// this library.
    pub backtrace: Option<Backtrace>,
}

impl HandlerPanic {
    /// The payload as text, if it is text. Do not send it to the peer: it exposes internals of
    /// the server.
    pub fn message(&self) -> Option<&str> {
        let text = self.payload.downcast_ref::<&str>().copied();
        text.or_else(|| self.payload.downcast_ref().map(String::as_str))
    }

    pub(super) fn new(conn: Conn, caught: Caught) -> Self {
        let request = conn.request();
        Self { conn, request, payload: caught.payload, backtrace: caught.backtrace }
    }

    /// The default for [`AcceptOptions::on_panic`](crate::AcceptOptions::on_panic).
    pub(super) fn log(&self) {
        let backtrace = self.backtrace.as_ref().map(ToString::to_string).unwrap_or_default();
        let path = self.request.as_ref().map(|request| request.uri.path());
        tracing::error!(
            conn = self.conn.id(),
            path = path.map(|path| field::display(Escaped::new(path))),
            panic = %Escaped::new(self.message().unwrap_or("not a text")),
            %backtrace,
            "a handler has panicked"
        );
    }
}

impl_debug!(HandlerPanic, this => { conn: this.conn, message: this.message() });

/// A panic that was caught.
pub(super) struct Caught {
    payload: Box<dyn Any + Send>,
    backtrace: Option<Backtrace>,
}

/// Catches the panics of a future.
pub(super) struct Catch<F> {
    future: Option<Pin<Box<F>>>,
    /// The span that the future runs in, if it is enabled.
    span: Option<Box<Span>>,
}

impl<F> Catch<F> {
    pub(super) fn new(future: F) -> Self {
        watch();
        Self { future: Some(Box::pin(future)), span: None }
    }

    /// Runs the future in a span.
    pub(super) fn within(span: Span, future: F) -> Self {
        let span = (!span.is_disabled()).then(|| Box::new(span));
        Self { span, ..Self::new(future) }
    }
}

impl<F: Future> Future for Catch<F> {
    type Output = Result<F::Output, Caught>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { future: Some(future), span } = &mut *self else { return Poll::Pending };
        let entered = span.as_ref().map(|span| span.enter());
        let outer = WATCHED.replace(true);
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        WATCHED.set(outer);
        drop(entered);
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(self.caught(payload))),
        }
    }
}

impl<F> Catch<F> {
    #[cold]
    fn caught(&mut self, payload: Box<dyn Any + Send>) -> Caught {
        let backtrace = BACKTRACE.take();
        let future = self.future.take();
        // Its destructor may panic too.
        if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(future))) {
            std::mem::forget(again);
        }
        Caught { payload, backtrace }
    }
}

thread_local! {
    /// Whether this thread runs a handler.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// Where the handler panicked, captured before the stack unwinds.
    static BACKTRACE: Cell<Option<Backtrace>> = const { Cell::new(None) };
}

/// Installs a panic hook that captures where handlers panic, and then calls the one before.
fn watch() {
    static WATCH: Once = Once::new();
    if WATCH.is_completed() || thread::panicking() {
        return;
    }
    WATCH.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that ends has no thread-locals any more.
            if WATCHED.try_with(Cell::get).unwrap_or(false) {
                let backtrace = Backtrace::force_capture();
                let _ = BACKTRACE.try_with(|kept| kept.set(Some(backtrace)));
            }
            before(info);
        }));
    });
}
