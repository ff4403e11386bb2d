//! Which functions can be handlers of an event?

use std::any::TypeId;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use crate::events::listeners::Listeners;
use crate::{Ack, EventPayload, FromEvent, Hub, Json};

/// An async function or closure with at most six arguments that can be
/// [extracted from an event](FromEvent).
///
/// It returns a [`HandlerReply`]: `()`, or a `Result` whose error implements `Display`. An error
/// becomes an `error` event, and so does a panic. The value of a `Result` is the answer, if the
/// peer asks for one. A broadcast returns a [`Delivery`](crate::Delivery). If a handler ends with a
/// broadcast, append `.map(drop)`, so that the `Delivery` is not the answer.
///
/// With `?`, an [`EncodeError`](crate::EncodeError) and a [`NotConnected`](crate::NotConnected) become an
/// [`EmitError`](crate::EmitError), and all of them an [`AckError`](crate::AckError): a handler that joins
/// rooms and sends returns `Result<_, EmitError>`, and one that waits for answers, too,
/// `Result<_, AckError>`. `Box<dyn Error + Send + Sync>` takes any.
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
    note = "a handler is an async function or closure with at most six arguments, whose future is \
            `Send`, and which returns `()`, a `Json<T>`, or a `Result<T, E>` with a value that \
            implements `Serialize` and an error that implements `Display`",
    note = "a closure that captures a value must clone it for each call, and move the clone into an \
            `async move` block: see the documentation of `Handler`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Starts the handler with its arguments, which are a tuple. Its result goes to `ack`.
    fn call(&self, args: Args, ack: Ack) -> HandlerFuture;
}

/// The arguments of a [`Handler`]: a tuple of at most six values that can be
/// [extracted from an event](FromEvent).
///
/// It is a separate trait, so that the compiler names the argument that cannot be extracted.
pub trait HandlerArgs: Sized + Send + 'static {
    /// Extracts the arguments.
    ///
    /// # Errors
    ///
    /// A description of what is wrong with one of them.
    fn from_event(event: &EventPayload) -> Result<Self, String>;

    /// Checks whether a hub can provide the arguments: see [`FromEvent::check`].
    ///
    /// # Errors
    ///
    /// A description of what is missing.
    fn check(hub: &Hub) -> Result<(), String>;
}

/// The future of a handler. It resolves to the text of its error, if it fails.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// What a handler of an event may return.
///
/// | result | if the peer asks for an acknowledgement | otherwise |
/// | --- | --- | --- |
/// | `()`, `Ok(())` | an answer without a value, once all handlers have returned, unless one of them answers or takes an [`Ack`] | nothing |
/// | [`Json(value)`](Json), `Ok(value)` | the answer | nothing |
/// | `Err(error)` | no answer | no answer |
///
/// An error becomes an `error` event.
///
/// ```
/// use ws_events::{Hub, Json};
///
/// let hub = Hub::builder().envelope().build();
/// hub.on("double", async |Json(n): Json<u32>| n.checked_mul(2).ok_or("too large"));
/// hub.on("version", async || Json("1.0"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler of an event cannot return `{Self}`",
    note = "a handler returns `()`, a `Json<T>`, or a `Result<T, E>` with a value that implements \
            `Serialize` and an error that implements `Display`; `.map(drop)` makes one of another \
            `Result`"
)]
pub trait HandlerReply {
    /// Answers, and returns the text of an error.
    fn reply(self, ack: &Ack) -> Option<String>;
}

impl HandlerReply for () {
    fn reply(self, _: &Ack) -> Option<String> {
        None
    }
}

impl<T: Serialize> HandlerReply for Json<T> {
    fn reply(self, ack: &Ack) -> Option<String> {
        ack.send(&self.0).err().map(|error| error.to_string())
    }
}

impl<T: Serialize + 'static, E: Display> HandlerReply for Result<T, E> {
    fn reply(self, ack: &Ack) -> Option<String> {
        match self {
            Ok(_) if TypeId::of::<T>() == TypeId::of::<()>() => None,
            Ok(value) => Json(value).reply(ack),
            // Some errors show their causes only in the alternate form.
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

macro_rules! handlers {
    ($($arg:ident $value:ident)*) => {
        impl<F, Fut, $($arg),*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerReply> + Send + 'static,
        {
            fn call(&self, ($($value,)*): ($($arg,)*), ack: Ack) -> HandlerFuture {
                let future = self($($value),*);
                Box::pin(async move { future.await.reply(&ack) })
            }
        }

        impl<$($arg: FromEvent),*> HandlerArgs for ($($arg,)*) {
            fn from_event(_event: &EventPayload) -> Result<Self, String> {
                Ok(($($arg::from_event(_event)?,)*))
            }

            fn check(_hub: &Hub) -> Result<(), String> {
                $($arg::check(_hub)?;)*
                Ok(())
            }
        }
    };
}

handlers!();
handlers!(A a);
handlers!(A a B b);
handlers!(A a B b C c);
handlers!(A a B b C c D d);
handlers!(A a B b C c D d E e);
handlers!(A a B b C c D d E e G g);

/// A handler without its argument types.
pub(crate) trait ErasedHandler: Send + Sync {
    /// Extracts the arguments, and starts the handler.
    fn handle(&self, event: &EventPayload) -> Result<HandlerFuture, String>;

    /// Whether a hub can provide the arguments.
    fn check(&self, hub: &Hub) -> Result<(), String>;
}

/// A handler with its argument types.
struct TypedHandler<H, Args> {
    handler: H,
    args: PhantomData<fn() -> Args>,
}

impl<H: Handler<Args>, Args: HandlerArgs> ErasedHandler for TypedHandler<H, Args> {
    fn handle(&self, event: &EventPayload) -> Result<HandlerFuture, String> {
        Ok(self.handler.call(Args::from_event(event)?, event.ack().clone()))
    }

    fn check(&self, hub: &Hub) -> Result<(), String> {
        Args::check(hub)
    }
}

/// The handlers of a hub or a socket.
pub(crate) type EventListeners = Listeners<Arc<dyn ErasedHandler>>;

/// Hides the argument types of a handler.
pub(crate) fn erase<H, Args>(handler: H) -> Arc<dyn ErasedHandler>
where
    H: Handler<Args>,
    Args: HandlerArgs,
{
    Arc::new(TypedHandler { handler, args: PhantomData })
}
