//! What does the task of a connection do with the socket of the browser?

use std::time::Duration;

use js_sys::Array;
use wasm_bindgen::prelude::JsValue;
use wasm_bindgen_futures::spawn_local;
use ws_core::{CloseError, Message};

use super::event_socket::EventSocket;
use super::runtime;
use super::state::{SharedConn, Step};
use super::stream_socket::StreamSocket;
use crate::first_ready::first_ready;

/// Opens a socket, and uses it until it has ended.
pub(super) async fn run(
    shared: SharedConn,
    url: String,
    subprotocols: Vec<String>,
    close_timeout: Duration,
) {
    let Ok(socket) = Socket::open(&shared, &url, &subprotocols) else {
        return shared.change(|state| state.ended(None));
    };
    spawn_local(limit_close(shared.clone(), close_timeout));
    loop {
        match shared.wait(|state| state.next_step()).await {
            Step::Send(message) => {
                let late = shared.wait(|state| state.is_late());
                first_ready(socket.send(&message), late).await;
                shared.change(|state| state.sent(&message));
            }
            Step::Close(close) => socket.close(&close),
            Step::End => return,
        }
    }
}

/// Ends the closing handshake when it takes too long. The first half of the time is for the messages
/// that are queued.
async fn limit_close(shared: SharedConn, close_timeout: Duration) {
    shared.wait(|state| state.is_closing()).await;
    let ended = || async { _ = shared.wait(|state| state.close_info()).await };
    first_ready(ended(), runtime::sleep(close_timeout / 2)).await;
    shared.change(|state| state.drop_unsent());
    first_ready(ended(), runtime::sleep(close_timeout / 2)).await;
    shared.change(|state| state.close_timed_out());
}

/// The socket of the browser.
enum Socket {
    Stream(StreamSocket),
    Events(EventSocket),
}

impl Socket {
    fn open(shared: &SharedConn, url: &str, subprotocols: &[String]) -> Result<Self, JsValue> {
        let subprotocols: Array = subprotocols.iter().map(|name| JsValue::from_str(name)).collect();
        Ok(match StreamSocket::is_available() {
            true => Self::Stream(StreamSocket::open(shared, url, &subprotocols)?),
            false => Self::Events(EventSocket::open(shared, url, &subprotocols)?),
        })
    }

    /// Passes a message to the browser, and waits until it has room for more.
    async fn send(&self, message: &Message) {
        match self {
            Self::Stream(socket) => socket.send(message).await,
            Self::Events(socket) => socket.send(message).await,
        }
    }

    /// Sends a close frame.
    fn close(&self, close: &CloseError) {
        match self {
            Self::Stream(socket) => socket.close(close),
            Self::Events(socket) => socket.close(close),
        }
    }
}
