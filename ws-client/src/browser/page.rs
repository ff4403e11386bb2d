//! When does a page try to connect again?

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Reflect, global};
use tokio::sync::{Notify, oneshot};
use wasm_bindgen::prelude::{Closure, JsCast as _, JsValue, wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use web_sys::EventTarget;

use super::conn::Conn;
use super::runtime::sleep;
use crate::first_ready::first_ready;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn milliseconds() -> f64;
}

/// An instant of the browser's clock, which does not go back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(f64);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(milliseconds())
    }

    pub(crate) fn elapsed(self) -> Duration {
        Duration::try_from_secs_f64((milliseconds() - self.0) / 1000.0).unwrap_or_default()
    }
}

/// Waits before the next attempt to connect.
///
/// The wait ends early when the browser is online again, or when the page becomes visible: the
/// timers of a hidden page are slow. It does not end while the browser is offline, whatever happens.
pub(crate) async fn wait_to_retry(wait: Duration) {
    let (ends, waits) = oneshot::channel();
    spawn_local(watch(wait, ends));
    // The task does not end before.
    let _ = waits.await;
}

/// A browser sends no pings, so nothing is known.
pub(crate) async fn has_answered(_: &Conn) -> bool {
    pending().await
}

/// Owns the listeners, which are not `Send`.
async fn watch(wait: Duration, mut ends: oneshot::Sender<()>) {
    let scope = JsValue::from(global());
    let document = property(&scope, "document");
    let online = Listener::new(&scope, "online");
    let visible = Listener::new(&document, "visibilitychange");
    let elapsed = async {
        sleep(wait).await;
        while !is_online(&scope) {
            online.heard().await;
        }
    };
    let seen = async {
        loop {
            visible.heard().await;
            let state = property(&document, "visibilityState").as_string();
            if state.as_deref() == Some("visible") && is_online(&scope) {
                return;
            }
        }
    };
    first_ready(elapsed, first_ready(online.heard(), first_ready(seen, ends.closed()))).await;
    let _ = ends.send(());
}

/// Whether the browser may have a network. Where it does not tell, it counts as online.
fn is_online(scope: &JsValue) -> bool {
    property(&property(scope, "navigator"), "onLine").as_bool() != Some(false)
}

/// `undefined` if there is no such property.
fn property(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &name.into()).unwrap_or_default()
}

/// A listener for an event, until it is dropped. It hears nothing where there are no such events.
struct Listener {
    target: Option<EventTarget>,
    name: &'static str,
    callback: Closure<dyn FnMut()>,
    heard: Rc<Notify>,
}

impl Listener {
    fn new(target: &JsValue, name: &'static str) -> Self {
        let heard = Rc::new(Notify::new());
        let hears = Rc::clone(&heard);
        let callback = Closure::<dyn FnMut()>::new(move || hears.notify_waiters());
        let target = target.dyn_ref::<EventTarget>().cloned();
        if let Some(target) = &target {
            let function = callback.as_ref().unchecked_ref();
            // Fails for a listener that is not a function.
            let _ = target.add_event_listener_with_callback(name, function);
        }
        Self { target, name, callback, heard }
    }

    async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            let function = self.callback.as_ref().unchecked_ref();
            let _ = target.remove_event_listener_with_callback(self.name, function);
        }
    }
}
