//! How does an event reach its handlers?

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;

use crate::events::event::News;
use crate::events::listeners::Listener;
use crate::{Event, EventPayload, Fault, Socket};

/// Calls the handlers of an event, one after the other. What goes wrong in one becomes an
/// `error` event, and stops none of the others.
pub(crate) async fn dispatch(socket: &Socket, event: Event, news: News) {
    let mut faults = Vec::new();
    if socket.0.hears(&event) {
        let calling = call_all(socket, event.clone(), news, &mut faults);
        socket.0.hub.turns.give_way(calling).await;
    }
    for fault in faults {
        report(socket, &event, fault).await;
    }
}

async fn call_all(socket: &Socket, event: Event, news: News, faults: &mut Vec<Fault>) {
    // The handlers as they are now: one may remove another, or itself.
    let [named, any] = socket.0.hub.listeners.of(&event);
    let [own, _] = socket.0.listeners.get().map(|own| own.of(&event)).unwrap_or_default();
    let payload = EventPayload::new(socket.clone(), event, news);
    for list in [named, any, own].into_iter().flatten() {
        for listener in list.iter() {
            faults.extend(call(listener, &payload).await);
        }
    }
}

/// Calls one handler, and says what went wrong.
async fn call(listener: &Listener, payload: &EventPayload) -> Option<Fault> {
    let event = || payload.event().clone();
    // The call itself may panic as well.
    let handling = AssertUnwindSafe(async {
        match listener.handle(payload) {
            Ok(handling) => handling.await.map(Ok),
            Err(unfit) => Some(Err(unfit)),
        }
    });
    match handling.catch_unwind().await {
        Ok(None) => None,
        Ok(Some(Ok(text))) => Some(Fault::Failed { event: event(), text: text.into() }),
        Ok(Some(Err(text))) => Some(Fault::Unfit { event: event(), text: text.into() }),
        Err(panic) => Some(Fault::Panicked { event: event(), text: text_of(&*panic) }),
    }
}

/// Tells the handlers of `error`. What goes wrong in these goes to the log alone.
async fn report(socket: &Socket, event: &Event, fault: Fault) {
    tracing::debug!(id = %socket.id(), %event, %fault, "a handler did not succeed");
    if *event == Event::Error || !socket.0.hears(&Event::Error) {
        return unheard(socket, event, &fault);
    }
    let mut more = Vec::new();
    Box::pin(call_all(socket, Event::Error, News::Wrong(fault), &mut more)).await;
    for fault in more {
        tracing::error!(id = %socket.id(), %fault, "a handler of `error` did not succeed");
    }
}

/// Nobody handles a fault. What a peer can cause by what it sends is no error of ours.
pub(crate) fn unheard(socket: &Socket, event: &Event, fault: &Fault) {
    const TEXT: &str = "nobody handled this fault";
    let id = socket.id();
    match fault {
        Fault::Unfit { .. } | Fault::Malformed(_) => tracing::warn!(%id, %event, %fault, "{TEXT}"),
        Fault::Connection(_)
        | Fault::Panicked { .. }
        | Fault::Failed { .. }
        | Fault::NoSuchId(_) => tracing::error!(%id, %event, %fault, "{TEXT}"),
    }
}

/// The text of a panic, which stays on this side of the wire.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    Arc::from(text.or_else(|| panic.downcast_ref::<String>().map(|text| &**text)).unwrap_or(""))
}
