//! How do I write a web page in Rust, without a framework, that reconnects to the chat?
//!
//! `cargo xtask wasm --no-test` builds it. `cargo run --example chat -- --wasm target/wasm-pages`
//! serves it: open `/wasm?name=Ann`.
#![cfg(target_arch = "wasm32")]

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use serde_json::{Value, json};
use wasm_bindgen::prelude::{Closure, JsCast as _, JsValue, wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Document, Event, HtmlInputElement, window};
use ws_client::reconnect::{ReconnectEvents, ReconnectState};
use ws_client::{Dial, Reconnect, ReconnectingConn};

/// Starts the page.
///
/// # Errors
///
/// When the document is not that of this page.
#[wasm_bindgen(start)]
pub fn start() -> Result<(), JsValue> {
    let page = Page::new().ok_or("another document")?;
    let location = window().ok_or("no window")?.location();
    let scheme = if location.protocol()? == "https:" { "wss" } else { "ws" };
    let url = format!("{scheme}://{}/ws{}", location.host()?, location.search()?);
    let room = Arc::new(Mutex::new(page.room.value()));
    let joined = Arc::clone(&room);
    let conn = Reconnect::new(Dial::new(url))
        .on_connect(move |conn| {
            let join = join(&of(&joined));
            async move { conn.write(join).await }
        })
        .start();
    on_submit(&page, &conn)?;
    on_change(&page, &conn, room)?;
    spawn_local(show_states(page.clone(), conn.events()));
    spawn_local(show_messages(page, conn));
    Ok(())
}

/// The elements of the page.
#[derive(Clone)]
struct Page {
    document: Document,
    room: HtmlInputElement,
    text: HtmlInputElement,
}

impl Page {
    fn new() -> Option<Self> {
        let document = window()?.document()?;
        let input = |id| document.get_element_by_id(id)?.dyn_into().ok();
        let (room, text) = (input("room")?, input("text")?);
        Some(Self { document, room, text })
    }

    /// Shows a text, never as markup.
    fn show(&self, id: &str, text: &str) {
        if let Some(element) = self.document.get_element_by_id(id) {
            element.set_text_content(Some(text));
        }
    }

    fn append(&self, message: &Value) -> Option<()> {
        let (from, text) = (message.get("from")?.as_str()?, message.get("text")?.as_str()?);
        let line = self.document.create_element("li").ok()?;
        line.set_text_content(Some(&format!("{from}: {text}")));
        self.document.get_element_by_id("log")?.append_child(&line).ok()?;
        Some(())
    }
}

fn of(room: &Mutex<String>) -> String {
    room.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn event(name: &str, data: &Value) -> String {
    json!({ "event": name, "data": data }).to_string()
}

fn join(room: &str) -> String {
    event("join", &json!({ "room": room }))
}

/// Sends what the user writes. While there is no connection, it waits in the send queue.
fn on_submit(page: &Page, conn: &ReconnectingConn) -> Result<(), JsValue> {
    let (inputs, conn) = (page.clone(), conn.clone());
    listen(page, "say", "submit", move |submitted: Event| {
        submitted.prevent_default();
        let say = json!({
            "to": inputs.room.value(),
            "text": inputs.text.value(),
            "key": js_sys::Math::random().to_string(),
        });
        // A full queue leaves the text in its field.
        if conn.try_write(event("say", &say)).is_ok() {
            inputs.text.set_value("");
        }
    })
}

/// Leaves the room, and joins another one.
fn on_change(
    page: &Page,
    conn: &ReconnectingConn,
    room: Arc<Mutex<String>>,
) -> Result<(), JsValue> {
    let (inputs, conn) = (page.clone(), conn.clone());
    listen(page, "room", "change", move |_| {
        let next = inputs.room.value();
        let mut current = room.lock().unwrap_or_else(PoisonError::into_inner);
        inputs.show("log", "");
        let leave = event("leave", &json!(*current));
        // Without a connection, `on_connect` joins the new room.
        if conn.connected().now_or_never().is_some() {
            let _ = conn.try_write(leave).and_then(|()| conn.try_write(join(&next)));
        }
        *current = next;
    })
}

/// Calls a function for an event of an element, as long as the page lives.
fn listen(
    page: &Page,
    id: &str,
    name: &str,
    call: impl FnMut(Event) + 'static,
) -> Result<(), JsValue> {
    let element = page.document.get_element_by_id(id).ok_or("another document")?;
    let call = Closure::<dyn FnMut(Event)>::new(call);
    element.add_event_listener_with_callback(name, call.as_ref().unchecked_ref())?;
    call.forget();
    Ok(())
}

async fn show_states(page: Page, mut states: ReconnectEvents) {
    while let Some(state) = states.next().await {
        match state {
            ReconnectState::Connected => page.show("state", "connected"),
            ReconnectState::Waiting { failure, .. } => page.show("state", &failure.to_string()),
            ReconnectState::Ended(error) => page.show("state", &error.to_string()),
            _ => {}
        }
    }
}

async fn show_messages(page: Page, conn: ReconnectingConn) {
    while let Ok(message) = conn.read_json::<Value>().await {
        let (Some(name), Some(data)) = (message.get("event"), message.get("data")) else {
            continue;
        };
        match name.as_str() {
            Some("said") => _ = page.append(data),
            // A complete list, also after a lost connection.
            Some("history") => {
                page.show("log", "");
                let messages = data.get(1).and_then(Value::as_array);
                messages.into_iter().flatten().for_each(|message| _ = page.append(message));
            }
            _ => {}
        }
    }
}
