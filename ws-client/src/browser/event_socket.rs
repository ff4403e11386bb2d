//! How does a connection use the `WebSocket` of a browser?

use std::time::Duration;

use js_sys::Array;
use wasm_bindgen::prelude::{Closure, JsCast as _, JsValue};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use ws_core::{CloseError, Message, StatusCode};

use super::runtime;
use super::state::{HIGH_WATERMARK, SharedConn};

/// How often the buffer of a browser is looked at while it is full. No event tells.
const BUFFER_CHECK: Duration = Duration::from_millis(10);

/// The buffer has room again when at most this many bytes are in it.
const LOW_WATERMARK: u32 = 16 * 1024;

/// A `WebSocket`, with handlers that change the state of the connection.
pub(super) struct EventSocket {
    socket: WebSocket,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl EventSocket {
    pub(super) fn open(
        shared: &SharedConn,
        url: &str,
        subprotocols: &Array,
    ) -> Result<Self, JsValue> {
        let socket = WebSocket::new_with_str_sequence(url, subprotocols)?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let (opening, opened) = (shared.clone(), socket.clone());
        let on_open = Closure::<dyn FnMut()>::new(move || {
            let subprotocol = opened.protocol();
            opening.change(|state| state.open(subprotocol));
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));

        let receiving = shared.clone();
        let on_message = Closure::<dyn FnMut(_)>::new(move |event: MessageEvent| {
            receiving.change(|state| state.received(&event.data()));
        });
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        // In a browser, the event `close` follows. In some versions of node, it does not.
        let failing = shared.clone();
        let on_error = Closure::<dyn FnMut()>::new(move || {
            failing.change(|state| state.failed_to_open());
        });
        socket.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        let closing = shared.clone();
        let on_close = Closure::<dyn FnMut(_)>::new(move |event: CloseEvent| {
            let code = StatusCode::from_u16(event.code()).filter(|_| event.was_clean());
            let close = code.map(|code| CloseError::new(code, event.reason()));
            closing.change(|state| state.ended(close));
        });
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self {
            socket,
            _on_open: on_open,
            _on_message: on_message,
            _on_error: on_error,
            _on_close: on_close,
        })
    }

    /// Passes a message to the browser, and waits while its buffer is full.
    pub(super) async fn send(&self, message: &Message) {
        // It fails before the connection is open, and never after.
        let _ = match message.as_text() {
            Some(text) => self.socket.send_with_str(text),
            None => self.socket.send_with_u8_array(message.as_bytes()),
        };
        if self.socket.buffered_amount() as usize <= HIGH_WATERMARK {
            return;
        }
        while self.socket.buffered_amount() > LOW_WATERMARK {
            runtime::sleep(BUFFER_CHECK).await;
        }
    }

    /// Sends a close frame behind what is buffered.
    pub(super) fn close(&self, close: &CloseError) {
        // `Conn::close` has checked the code and the reason.
        let _ = match close.code {
            StatusCode::NO_STATUS_RECEIVED => self.socket.close(),
            code => self.socket.close_with_code_and_reason(code.as_u16(), &close.reason),
        };
    }
}

impl Drop for EventSocket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onerror(None);
        self.socket.set_onclose(None);
    }
}
