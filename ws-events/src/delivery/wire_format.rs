//! In which format does a socket get its messages, and how is a message encoded once for each?

use ws_core::PreparedMessage;

use crate::recovery::offset::{SentMessage, SentOffset};

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
    /// As `Envelope`, with the offsets of a session that can be recovered.
    EnvelopeResumable,
    /// As `SocketIo`, with the offsets of a session that can be recovered.
    SocketIoResumable,
    /// As `SocketIoMsgpack`, with the offsets of a session that can be recovered.
    SocketIoMsgpackResumable,
}

impl WireFormat {
    /// The number of formats.
    pub(crate) const COUNT: usize = 7;

    /// Whether the session of the socket can be recovered, so a log has what was sent to it.
    pub(crate) const fn is_resumable(self) -> bool {
        match self {
            Self::Plain | Self::Envelope | Self::SocketIo | Self::SocketIoMsgpack => false,
            Self::EnvelopeResumable | Self::SocketIoResumable | Self::SocketIoMsgpackResumable => {
                true
            }
        }
    }

    /// The format with offsets, if it has events.
    pub(crate) const fn resumable(self) -> Self {
        match self {
            Self::Plain => Self::Plain,
            Self::Envelope | Self::EnvelopeResumable => Self::EnvelopeResumable,
            Self::SocketIo | Self::SocketIoResumable => Self::SocketIoResumable,
            Self::SocketIoMsgpack | Self::SocketIoMsgpackResumable => {
                Self::SocketIoMsgpackResumable
            }
        }
    }
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
    /// Those of resumable formats are never in here, so that [`get`](Encodings::get) leaves the
    /// common path for them.
    messages: [Option<PreparedMessage>; WireFormat::COUNT],
    resumable: [Option<PreparedMessage>; WireFormat::COUNT],
    /// The message for the log of a recipient; `None` if it may be lost.
    sent: Option<SentMessage>,
    /// Runs no code of the application, because it may be called under the lock of a room.
    encode: &'a EncodeFn<'a>,
}

/// Encodes a message in a format, with the offset for those that are resumable.
pub(crate) type EncodeFn<'a> = dyn Fn(WireFormat, Option<SentOffset>) -> PreparedMessage + 'a;

impl<'a> Encodings<'a> {
    pub(crate) const fn each(encode: &'a EncodeFn<'a>) -> Self {
        let (messages, resumable) =
            ([const { None }; WireFormat::COUNT], [const { None }; WireFormat::COUNT]);
        Self::Each(EncodedOnce { messages, resumable, sent: None, encode })
    }

    /// Sets the message for the logs of recipients, before the first of them.
    pub(crate) fn set_sent(&mut self, message: Option<SentMessage>) {
        if let Self::Each(each) = self {
            each.sent = message;
        }
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
        if let Self::Each(EncodedOnce { messages, encode, .. }) = self
            && let Some(message) = messages.get_mut(format as usize)
        {
            *message = Some(encode(format, None));
        }
    }

    /// The message in a resumable format, and the message for the log.
    #[cold]
    pub(crate) fn resumable(
        &mut self,
        format: WireFormat,
    ) -> Option<(PreparedMessage, Option<SentMessage>)> {
        let Self::Each(EncodedOnce { resumable, encode, sent, .. }) = self else { return None };
        let message = resumable.get_mut(format as usize)?;
        let offset = sent.as_ref().map(|sent| sent.offset);
        let message = message.get_or_insert_with(|| encode(format, offset));
        Some((message.clone(), sent.clone()))
    }
}
