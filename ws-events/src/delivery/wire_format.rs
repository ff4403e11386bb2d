//! In which format does a socket get its messages, and how is a message encoded once for each?

use ws_core::PreparedMessage;

/// The format of the messages of one socket, for its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WireFormat {
    /// Messages only. An event is its data.
    #[default]
    Plain,
    /// Events as JSON objects.
    Envelope,
    /// Events as packets of Socket.IO.
    SocketIo,
    /// The same in MessagePack.
    #[cfg_attr(not(feature = "msgpack"), expect(dead_code, reason = "one format less"))]
    SocketIoMsgpack,
}

impl WireFormat {
    /// The number of formats.
    pub(crate) const COUNT: usize = 4;
}

/// One message in the formats of its recipients.
pub(crate) enum Encodings<'a> {
    /// For recipients of one format.
    One(&'a PreparedMessage),
    /// Encoded for the first recipient of each format.
    Each(EncodedOnce<'a>),
}

/// A message that is encoded once in each format.
pub(crate) struct EncodedOnce<'a> {
    messages: [Option<PreparedMessage>; WireFormat::COUNT],
    /// Runs no code of the application, because it may be called under the lock of a room.
    encode: &'a EncodeFn<'a>,
}

/// Encodes a message in a format.
pub(crate) type EncodeFn<'a> = dyn Fn(WireFormat) -> PreparedMessage + 'a;

impl<'a> Encodings<'a> {
    pub(crate) const fn each(encode: &'a EncodeFn<'a>) -> Self {
        Self::Each(EncodedOnce { messages: [const { None }; WireFormat::COUNT], encode })
    }

    /// The message in a format, if it is encoded already.
    #[inline]
    pub(crate) fn get(&self, format: WireFormat) -> Option<&PreparedMessage> {
        match self {
            Self::One(message) => Some(message),
            Self::Each(each) => each.messages.get(format as usize)?.as_ref(),
        }
    }

    /// Encodes the message in a format.
    #[cold]
    pub(crate) fn encode(&mut self, format: WireFormat) {
        if let Self::Each(EncodedOnce { messages, encode }) = self
            && let Some(message) = messages.get_mut(format as usize)
        {
            *message = Some(encode(format));
        }
    }
}
