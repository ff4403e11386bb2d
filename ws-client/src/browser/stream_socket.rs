//! How does a connection use the `WebSocketStream` of a browser, which has backpressure?

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::{Array, Object, Promise, Reflect, Uint8Array, global};
use wasm_bindgen::prelude::{JsCast as _, JsValue, wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use ws_core::{CloseError, Message, StatusCode};

use super::state::SharedConn;
use crate::first_ready::first_ready;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    type WebSocketStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(url: &str, options: &Object) -> Result<WebSocketStream, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn opened(this: &WebSocketStream) -> Promise;

    #[wasm_bindgen(method, getter)]
    fn closed(this: &WebSocketStream) -> Promise;

    #[wasm_bindgen(method, catch)]
    fn close(this: &WebSocketStream, info: &Object) -> Result<(), JsValue>;

    /// What `opened` resolves to.
    type Opened;

    #[wasm_bindgen(method, getter)]
    fn protocol(this: &Opened) -> String;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &Opened) -> Readable;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &Opened) -> Writable;

    type Readable;

    #[wasm_bindgen(method, js_name = getReader)]
    fn reader(this: &Readable) -> Reader;

    type Reader;

    #[wasm_bindgen(method)]
    fn read(this: &Reader) -> Promise;

    /// What `read` resolves to.
    type Chunk;

    #[wasm_bindgen(method, getter)]
    fn done(this: &Chunk) -> bool;

    #[wasm_bindgen(method, getter)]
    fn value(this: &Chunk) -> JsValue;

    type Writable;

    #[wasm_bindgen(method, js_name = getWriter)]
    fn writer(this: &Writable) -> Writer;

    #[derive(Debug)]
    type Writer;

    #[wasm_bindgen(method)]
    fn write(this: &Writer, chunk: &JsValue) -> Promise;

    /// What `closed` resolves to.
    type Closed;

    #[wasm_bindgen(method, getter, js_name = closeCode)]
    fn code(this: &Closed) -> u16;

    #[wasm_bindgen(method, getter)]
    fn reason(this: &Closed) -> String;
}

/// A `WebSocketStream`, with a task that reads it.
pub(super) struct StreamSocket {
    stream: WebSocketStream,
    /// Empty until the connection is open.
    writer: Rc<OnceCell<Writer>>,
}

impl StreamSocket {
    /// Whether the browser has `WebSocketStream`: Chromium does.
    pub(super) fn is_available() -> bool {
        Reflect::has(&global(), &"WebSocketStream".into()).unwrap_or_default()
    }

    pub(super) fn open(
        shared: &SharedConn,
        url: &str,
        subprotocols: &Array,
    ) -> Result<Self, JsValue> {
        let options = Object::new();
        if subprotocols.length() > 0 {
            Reflect::set(&options, &"protocols".into(), subprotocols)?;
        }
        let stream = WebSocketStream::new(url, &options)?;
        let writer = Rc::new(OnceCell::new());
        spawn_local(receive(shared.clone(), stream.clone(), Rc::clone(&writer)));
        Ok(Self { stream, writer })
    }

    /// Passes a message to the browser, and waits until it has room for more.
    pub(super) async fn send(&self, message: &Message) {
        let Some(writer) = self.writer.get() else { return };
        let chunk = match message.as_text() {
            Some(text) => JsValue::from_str(text),
            None => Uint8Array::from(message.as_bytes()).into(),
        };
        // `receive` reports the end of the connection.
        let _ = JsFuture::from(writer.write(&chunk)).await;
    }

    pub(super) fn close(&self, close: &CloseError) {
        let info = Object::new();
        if close.code != StatusCode::NO_STATUS_RECEIVED {
            // Setting a property of a new object does not fail.
            let _ = Reflect::set(&info, &"closeCode".into(), &close.code.as_u16().into());
            let _ = Reflect::set(&info, &"reason".into(), &(&*close.reason).into());
        }
        // `Conn::close` has checked the code and the reason.
        let _ = self.stream.close(&info);
    }
}

/// Reads a stream to its end, and then reports how it was closed.
///
/// At the end, a browser drops the messages that it holds. So this reads while there is room, and one
/// message beyond: if the browser has no such message, it drops nothing.
async fn receive(shared: SharedConn, stream: WebSocketStream, writer: Rc<OnceCell<Writer>>) {
    // From now on, so that the browser does not report an unhandled rejection.
    let mut closed = JsFuture::from(stream.closed());
    let (mut ended, mut was_full) = (None, false);
    if let Ok(opened) = JsFuture::from(stream.opened()).await {
        let opened: Opened = opened.unchecked_into();
        let reader = opened.readable().reader();
        // It is set once.
        let _ = writer.set(opened.writable().writer());
        shared.change(|state| state.open(opened.protocol()));
        loop {
            let is_full = shared.look(|state| state.has_room_to_read().is_none());
            if is_full && was_full && ended.is_none() {
                let end = async { Some((&mut closed).await) };
                let room = async {
                    shared.wait(|state| state.has_room_to_read()).await;
                    None
                };
                // The end first: the browser may have dropped messages before there was room.
                ended = first_ready(end, room).await;
                if ended.is_some() {
                    shared.change(|state| state.miss_messages());
                }
            }
            was_full = is_full && !was_full;
            let Some(message) = next_message(&reader).await else { break };
            shared.change(|state| state.received(&message));
        }
    }
    let ended = match ended {
        Some(ended) => ended,
        None => closed.await,
    };
    let close = ended.ok().and_then(|closed| {
        let closed: Closed = closed.unchecked_into();
        Some(CloseError::new(StatusCode::from_u16(closed.code())?, closed.reason()))
    });
    shared.change(|state| state.ended(close));
}

/// The next message of the browser; `None` after the last one.
async fn next_message(reader: &Reader) -> Option<JsValue> {
    let chunk: Chunk = JsFuture::from(reader.read()).await.ok()?.unchecked_into();
    (!chunk.done()).then(|| chunk.value())
}
