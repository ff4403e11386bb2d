//! Which functions can be handlers of an event?

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ws_core::handler::HandlerOutput;

use crate::events::listeners::Listeners;
use crate::{EventPayload, FromEvent};

/// An async function or closure with at most six arguments that can be
/// [extracted from an event](FromEvent).
///
/// It returns `()`, or a `Result<(), E>` whose error implements `Display`. An error becomes an
/// `error` event, and so does a panic. A broadcast returns a [`Delivery`](crate::Delivery): a
/// handler that ends with one appends `.map(drop)`.
///
/// ```
/// use ws_core::Message;
/// use ws_events::{EmitError, Hub, Socket};
///
/// async fn echo(socket: Socket, message: Message) -> Result<(), EmitError> {
///     socket.send(message)
/// }
///
/// let hub = Hub::new();
/// hub.on_message(echo);
/// hub.on_connect(async |socket: Socket| socket.send("hello"));
/// ```
///
/// To share a value among handlers, use [`State`](crate::State) of the hub. The compiler refuses an
/// async closure that captures a value, since its future borrows the value and may outlive the
/// closure. A closure that clones the value for each call works:
///
/// ```
/// use tokio::sync::mpsc;
/// use ws_events::{Hub, Id};
///
/// let (sender, receiver) = mpsc::unbounded_channel();
/// let hub = Hub::new();
/// hub.on_connect(move |id: Id| {
///     let sender = sender.clone();
///     async move { sender.send(id) }
/// });
/// # let _ = receiver;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a handler of an event",
    note = "a handler is an async function or closure whose arguments implement `FromEvent`, whose \
            future is `Send`, and which returns `()` or a `Result<(), E>` with an error that \
            implements `Display`; `.map(drop)` makes one of a `Result<Delivery, E>`",
    note = "a closure that captures a value must clone it for each call, and move the clone into an \
            `async move` block: see the documentation of `Handler`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Extracts the arguments from the event, and starts the handler.
    ///
    /// # Errors
    ///
    /// A description of what is wrong, if an argument cannot be extracted.
    fn handle(&self, event: &EventPayload) -> Result<HandlerFuture, String>;
}

/// The future of a handler. It resolves to the text of its error, if it fails.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

macro_rules! handlers {
    ($($arg:ident)*) => {
        impl<F, Fut, $($arg),*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerOutput> + Send + 'static,
            $($arg: FromEvent,)*
        {
            fn handle(&self, _event: &EventPayload) -> Result<HandlerFuture, String> {
                let future = self($($arg::from_event(_event)?),*);
                Ok(Box::pin(async move { future.await.into_error() }))
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);

/// A handler without its argument types.
pub(crate) type ErasedHandler =
    dyn Fn(&EventPayload) -> Result<HandlerFuture, String> + Send + Sync;

/// The handlers of a hub or a socket.
pub(crate) type EventListeners = Listeners<Arc<ErasedHandler>>;

/// Hides the argument types of a handler.
pub(crate) fn erase<H, Args>(handler: H) -> Arc<ErasedHandler>
where
    H: Handler<Args>,
    Args: 'static,
{
    Arc::new(move |event: &EventPayload| handler.handle(event))
}
