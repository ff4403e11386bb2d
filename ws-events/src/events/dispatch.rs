//! How are the handlers of an event called, and what happens to their errors and panics?

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures::FutureExt as _;
use tracing::Level;
use ws_core::Escaped;

use crate::delivery::enqueue::enqueue_volatile;
use crate::delivery::recipient::Recipient as _;
use crate::events::handler::ErasedHandler;
use crate::events::payload::Payload;
use crate::events::protocol::{ErrorCode, encode_error};
use crate::{EmitError, Event, EventError, EventPayload, NotConnected, Socket};

/// Calls the handlers of an event, one after the other. The error of one becomes an `error`
/// event, and the others are still called.
pub(crate) async fn dispatch(socket: &Socket, event: Event, payload: Payload) {
    let mut errors = Vec::new();
    if socket.0.has_handler(&event) {
        let calling = call_all(socket, event.clone(), payload, &mut errors);
        socket.0.delivery().handler_yield.apply(calling).await;
    }
    for error in errors {
        report(socket, &event, error).await;
    }
}

async fn call_all(socket: &Socket, event: Event, payload: Payload, errors: &mut Vec<EventError>) {
    // Copies of the lists: a handler may remove another one, or itself.
    let [named, any] = socket.0.hub.listeners.of(&event);
    let [own, _] = socket.0.own_listeners().map(|own| own.of(&event)).unwrap_or_default();
    let is_from_peer =
        matches!(payload, Payload::Request(..)) || (event == Event::Message && payload.is_data());
    let payload = EventPayload::new(socket.clone(), event, payload);
    if is_from_peer {
        for check in &socket.0.hub.event_checks {
            if let Some(error) = call(&**check, &payload).await {
                return errors.push(error);
            }
        }
    }
    for list in [named, any, own].into_iter().flatten() {
        for listener in list.iter() {
            errors.extend(call(&*listener.handler, &payload).await);
        }
    }
    if errors.is_empty() {
        // It fails if the socket does not accept messages any more.
        let _ = payload.ack().finish();
    }
    // A handler with an `Option<Json<T>>` was called nevertheless.
    let is_invalid = |error: &EventError, reason: &str| matches!(error, EventError::InvalidArgument { text, .. } if **text == *reason);
    if let Some(reason) = payload.undecodable()
        && errors.iter().any(|error| is_invalid(error, reason))
    {
        send_error(socket, ErrorCode::InvalidData, Some(payload.name()), reason);
    }
}

/// Sends an error event to the peer, unless the hub has none, or the peer does not keep up.
pub(crate) fn send_error(socket: &Socket, code: ErrorCode, event: Option<&str>, text: &str) {
    let hub = &socket.0.hub;
    if hub.error_events
        && let Some(message) = encode_error(socket.0.format, code, event, text)
    {
        enqueue_volatile(&socket.0, &message);
    }
}

/// Calls one handler. Returns its error.
async fn call(handler: &dyn ErasedHandler, payload: &EventPayload) -> Option<EventError> {
    let event = || payload.event().clone();
    // Also the call that makes the future may panic.
    let handling = AssertUnwindSafe(async {
        match handler.handle(payload) {
            Ok(handling) => handling.await.map(Ok),
            Err(invalid) => Some(Err(invalid)),
        }
    });
    match handling.catch_unwind().await {
        Ok(None) => None,
        Ok(Some(Ok(text))) => Some(EventError::Failed { event: event(), text: text.into() }),
        Ok(Some(Err(text))) => {
            Some(EventError::InvalidArgument { event: event(), text: text.into() })
        }
        Err(panic) => Some(EventError::Panicked { event: event(), text: panic_text(&*panic) }),
    }
}

/// Calls the handlers of `error`. Their own errors are only logged.
async fn report(socket: &Socket, event: &Event, error: EventError) {
    tracing::debug!(id = %log_id(socket), %event, %error, "a handler has failed");
    if *event == Event::Error || !socket.0.has_handler(&Event::Error) {
        return log_unhandled(socket, event, &error);
    }
    let mut more = Vec::new();
    Box::pin(call_all(socket, Event::Error, Payload::Error(error), &mut more)).await;
    for error in more {
        tracing::error!(id = %log_id(socket), %error, "a handler of `error` has failed");
    }
}

/// Logs an error without a handler. Errors that a peer can cause by its data are warnings, one for
/// each socket: a peer can cause as many as it likes. The end of a connection is no error of the
/// server, nor is a handler that fails because of it.
pub(crate) fn log_unhandled(socket: &Socket, event: &Event, error: &EventError) {
    let id = log_id(socket);
    let mut text = "an error without a handler";
    let level = match error {
        EventError::InvalidArgument { .. } | EventError::Malformed(_) => {
            text = "invalid data from a peer";
            if socket.0.warned.swap(true, Relaxed) { Level::DEBUG } else { Level::WARN }
        }
        EventError::Connection(_) => Level::DEBUG,
        EventError::Failed { text, .. } if is_of_the_end(socket, text) => Level::DEBUG,
        EventError::Panicked { .. } | EventError::Failed { .. } | EventError::NoSuchId(_) => {
            Level::ERROR
        }
    };
    if level == Level::ERROR {
        tracing::error!(%id, %event, %error, "{text}");
    } else if level == Level::WARN {
        tracing::warn!(%id, %event, %error, "{text}");
    } else {
        tracing::debug!(%id, %event, %error, "{text}");
    }
}

/// Whether the error of a handler says only that its socket or connection has ended.
fn is_of_the_end(socket: &Socket, text: &str) -> bool {
    if socket.is_alive() {
        return false;
    }
    let of_the_socket = [EmitError::Closed.to_string(), NotConnected.to_string()];
    let close_info = socket.conn().and_then(|conn| conn.close_info());
    of_the_socket.iter().any(|end| text.ends_with(end))
        || close_info.is_some_and(|info| text.contains(&info.error.to_string()))
}

/// The id of a socket for a log, which may be from its peer.
pub(crate) fn log_id(socket: &Socket) -> String {
    Escaped::new(socket.id().as_str()).to_string()
}

/// The text of a panic. It is never sent to a peer.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    Arc::from(text.or_else(|| panic.downcast_ref::<String>().map(|text| &**text)).unwrap_or(""))
}
