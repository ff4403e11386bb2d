//! What can handle an event?

use std::future::Future;
use std::pin::Pin;

use ws_core::handler::HandlerOutput;

use crate::{EventPayload, FromEvent};

/// An async function or closure whose arguments can be [taken out of an event](FromEvent),
/// at most six.
///
/// It returns nothing, or a `Result<(), E>` whose error can be shown: an error becomes an
/// `error` event. So does a panic. What sends to many returns a
/// [`Delivery`](crate::Delivery): a handler that ends so says `.map(drop)`.
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
/// What handlers share is best given to the hub, as [`State`](crate::State). An async closure
/// that captures something is refused by the compiler, since its future borrows that and may
/// outlive the closure. A closure that clones it for each call will do:
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
    message = "this cannot handle an event",
    note = "a handler is an async function or closure whose arguments implement `FromEvent`, whose \
            future is `Send`, and which returns `()` or a `Result<(), E>` with an error that can \
            be shown; `.map(drop)` makes one of a `Result<Delivery, E>`",
    note = "a closure that captures something has to clone it for each call, and give it to an \
            `async move` block: see the documentation of `Handler`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Takes the arguments out of the event, and begins.
    ///
    /// # Errors
    ///
    /// What is wrong with the data, if an argument does not fit.
    fn handle(&self, event: &EventPayload) -> Result<Handling, String>;
}

/// A handler at work: gives the text of its error, if it comes to one.
pub type Handling = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

macro_rules! handlers {
    ($($arg:ident)*) => {
        impl<F, Fut, $($arg),*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerOutput> + Send + 'static,
            $($arg: FromEvent,)*
        {
            fn handle(&self, _event: &EventPayload) -> Result<Handling, String> {
                let working = self($($arg::from_event(_event)?),*);
                Ok(Box::pin(async move { working.await.into_error() }))
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
