//! Which loops do the servers of other libraries run on a connection?
//!
//! They are generic over the stream of a library, so that each program has its own copy.

use std::error::Error;

use anyhow::Result;
use bytes::Bytes;
use futures_util::{FutureExt as _, Sink, SinkExt as _, TryStream, TryStreamExt as _};
use kit::{Hub, Mode, Options, Subscription};

/// A message of a library.
pub trait Message: Send + 'static {
    /// Whether it is text or binary.
    fn is_data(&self) -> bool;

    /// Its payload.
    fn payload(self) -> Bytes;

    /// A binary message.
    fn binary(payload: Bytes) -> Self;
}

/// A connection of a library.
pub trait Socket:
    TryStream<Ok = Self::Message, Error = Self::Failure>
    + Sink<Self::Message, Error = Self::Failure>
    + Unpin
    + Send
    + 'static
{
    /// What it reads and writes.
    type Message: Message;
    /// Its error.
    type Failure: Error + Send + Sync + 'static;
}

impl<T, M, E> Socket for T
where
    T: TryStream<Ok = M, Error = E> + Sink<M, Error = E> + Unpin + Send + 'static,
    M: Message,
    E: Error + Send + Sync + 'static,
{
    type Message = M;
    type Failure = E;
}

/// Runs the loop of the selected mode in a task.
pub fn spawn(socket: impl Socket, options: &Options, hub: &Hub) {
    match (options.mode, options.is("batch")) {
        (Mode::Fanout, _) => tokio::spawn(pass_on(socket, hub.subscribe())),
        (Mode::Echo | Mode::Burst, false) => tokio::spawn(echo(socket)),
        (Mode::Echo | Mode::Burst, true) => tokio::spawn(echo_in_batches(socket)),
    };
}

/// Sends each message back.
///
/// # Errors
///
/// The connection fails.
pub async fn echo(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.try_next().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Echoes all messages that are buffered already, then flushes.
async fn echo_in_batches(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.try_next().await? {
        socket.feed(message).await?;
        while let Some(Some(message)) = socket.try_next().now_or_never().transpose()? {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

/// Sends the messages of a connection to all others, and theirs to it.
///
/// # Errors
///
/// The connection fails.
pub async fn pass_on(mut socket: impl Socket, mut subscription: Subscription) -> Result<()> {
    loop {
        tokio::select! {
            message = socket.try_next() => match message? {
                Some(message) => subscription.publish(&message.payload()),
                None => return Ok(()),
            },
            Some(payload) = subscription.next() => {
                socket.feed(Message::binary(payload)).await?;
                while let Some(payload) = subscription.ready() {
                    socket.feed(Message::binary(payload)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

/// Implements [`Message`]: the library, its type, whether a value is data, its payload, and a binary
/// message.
macro_rules! messages {
    ($($library:literal, $message:ty, $is_data:expr, $payload:expr, $binary:expr;)*) => {$(
        #[cfg(feature = $library)]
        impl Message for $message {
            fn is_data(&self) -> bool {
                $is_data(self)
            }

            fn payload(self) -> Bytes {
                $payload(self)
            }

            fn binary(payload: Bytes) -> Self {
                $binary(payload)
            }
        }
    )*};
}

messages! {
    "axum", axum::extract::ws::Message,
        |it: &Self| matches!(it, Self::Text(_) | Self::Binary(_)), Self::into_data, Self::Binary;
    "sockudo-ws", sockudo_ws::Message,
        |it: &Self| matches!(it, Self::Text(_) | Self::Binary(_)), Self::into_bytes, Self::Binary;
    "tokio-websockets", tokio_websockets::Message,
        |it: &Self| it.is_text() || it.is_binary(), |it: Self| it.into_payload().into(), Self::binary;
    "tungstenite", tokio_tungstenite::tungstenite::Message,
        |it: &Self| it.is_text() || it.is_binary(), Self::into_data, Self::from;
    "warp", warp::ws::Message,
        |it: &Self| it.is_text() || it.is_binary(), Self::into_bytes, Self::binary;
    "yawc", yawc::Frame,
        |it: &Self| matches!(it.opcode(), yawc::OpCode::Text | yawc::OpCode::Binary),
        Self::into_payload, Self::binary;
}
