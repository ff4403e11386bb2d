//! Which tasks, timers and close codes does a browser have?

use std::time::Duration;

use js_sys::Function;
use tokio::sync::oneshot;
use wasm_bindgen::prelude::{Closure, JsCast as _, JsValue, wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use ws_core::proto::CloseFrame;
use ws_core::{SendError, StatusCode};

#[cfg(feature = "reconnect")]
pub(crate) use super::page::{Instant, has_answered, wait_to_retry};
use crate::first_ready::first_ready;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: i32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}

/// Fails if a close frame with this code and reason is invalid, or a browser does not send it.
pub(crate) fn check_close(code: StatusCode, reason: &str) -> Result<(), SendError> {
    CloseFrame::new(code, reason)?;
    match code.as_u16() {
        1000 | 1005 | 3000..=4999 => Ok(()),
        _ => Err(SendError::Code(code)),
    }
}

/// Runs a task in the background.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    spawn_local(task);
}

/// Does nothing: a timer for each call would take milliseconds.
#[cfg(feature = "reconnect")]
pub(crate) async fn yield_in_turn() {}

/// A page has [`events`](crate::ReconnectingConn::events).
#[cfg(feature = "reconnect")]
pub(crate) fn log_retry(_: &dyn std::fmt::Display, _: Duration) {}

/// Waits. Dropping the future ends the timer.
pub(crate) async fn sleep(duration: Duration) {
    let (fired, waits) = oneshot::channel();
    spawn_local(run_timer(duration, fired));
    // The task does not end before.
    let _ = waits.await;
}

/// Owns a timer of the browser, which is not `Send`.
async fn run_timer(duration: Duration, mut fired: oneshot::Sender<()>) {
    // The browser takes at most 24 days.
    let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let (elapses, elapsed) = oneshot::channel();
    let callback = Closure::once(move || _ = elapses.send(()));
    let id = set_timeout(callback.as_ref().unchecked_ref(), milliseconds);
    first_ready(async { _ = elapsed.await }, fired.closed()).await;
    clear_timeout(&id);
    let _ = fired.send(());
}
