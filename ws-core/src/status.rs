//! What does a close code mean, may it be sent, and is it a normal end?

use std::fmt;

/// The code of a close frame ([RFC 6455 §7.4]).
///
/// Applications and libraries define their own codes, so this is a number with names for the
/// registered ones.
///
/// ```
/// use ws_core::StatusCode;
///
/// assert_eq!(StatusCode::GOING_AWAY.as_u16(), 1001);
/// assert!(StatusCode::from_u16(4000).is_some_and(StatusCode::is_private));
/// assert!(!StatusCode::ABNORMAL_CLOSURE.is_sendable());
/// assert!(StatusCode::NO_STATUS_RECEIVED.is_normal());
/// ```
///
/// [RFC 6455 §7.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

macro_rules! status_codes {
    ($($(#[$doc:meta])* ($number:literal, $name:ident, $phrase:literal);)+) => {
        impl StatusCode {
            $($(#[$doc])* pub const $name: Self = Self($number);)+

            /// The registered meaning of the code in a few words.
            pub const fn phrase(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($phrase),)+
                    _ => None,
                }
            }
        }
    };
}

status_codes! {
    /// 1000: the connection has served its purpose.
    (1000, NORMAL_CLOSURE, "normal closure");
    /// 1001: the server shuts down, or the browser leaves the page.
    (1001, GOING_AWAY, "going away");
    /// 1002: the peer violated the protocol.
    (1002, PROTOCOL_ERROR, "protocol error");
    /// 1003: the endpoint does not accept this type of data.
    (1003, UNSUPPORTED_DATA, "unsupported data");
    /// 1005: the close frame had no code. Never sent.
    (1005, NO_STATUS_RECEIVED, "no status received");
    /// 1006: the transport ended without a close frame. Never sent.
    (1006, ABNORMAL_CLOSURE, "abnormal closure");
    /// 1007: the payload does not match its type, such as text that is not UTF-8.
    (1007, INVALID_FRAME_PAYLOAD_DATA, "invalid frame payload data");
    /// 1008: a policy was violated, and no other code fits.
    (1008, POLICY_VIOLATION, "policy violation");
    /// 1009: a message is longer than the endpoint accepts.
    (1009, MESSAGE_TOO_BIG, "message too big");
    /// 1010: the client requires an extension that the server did not accept.
    (1010, MANDATORY_EXTENSION, "mandatory extension");
    /// 1011: the endpoint encountered an unexpected condition.
    (1011, INTERNAL_ERROR, "internal error");
    /// 1012: the service restarts. Reconnect soon.
    (1012, SERVICE_RESTART, "service restart");
    /// 1013: the service is overloaded. Reconnect later.
    (1013, TRY_AGAIN_LATER, "try again later");
    /// 1014: a gateway received an invalid response from upstream.
    (1014, BAD_GATEWAY, "bad gateway");
    /// 1015: the TLS handshake failed. Never sent.
    (1015, TLS_HANDSHAKE, "TLS handshake failed");
}

impl StatusCode {
    /// The code with this number. `None` outside 1000 to 4999.
    pub const fn from_u16(code: u16) -> Option<Self> {
        match code {
            1000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may be sent in a close frame ([RFC 6455 §7.4.1] and [§7.4.2]).
    ///
    /// The reserved codes 1004, 1005, 1006 and 1015 must not be sent, nor the unassigned numbers
    /// up to 2999.
    ///
    /// [RFC 6455 §7.4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
    /// [§7.4.2]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether a connection that ended with this code ended normally: 1000, 1001, or 1005 (a close
    /// frame without a code, which `close()` in a browser sends).
    ///
    /// This is the one definition of a normal end. Streams and joined messages end without an
    /// error after these codes.
    pub const fn is_normal(self) -> bool {
        matches!(self, Self::NORMAL_CLOSURE | Self::GOING_AWAY | Self::NO_STATUS_RECEIVED)
    }

    /// Whether the code is for libraries and frameworks, registered with IANA (3000 to 3999).
    pub const fn is_library(self) -> bool {
        matches!(self.0, 3000..=3999)
    }

    /// Whether the code is for private use by applications (4000 to 4999).
    pub const fn is_private(self) -> bool {
        matches!(self.0, 4000..=4999)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phrase() {
            Some(phrase) => write!(f, "{} {phrase}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusCode({})", self.0)
    }
}

impl From<StatusCode> for u16 {
    fn from(code: StatusCode) -> Self {
        code.0
    }
}

/// The number is not a close code: it is outside 1000 to 4999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStatusCode(u16);

impl_error!(InvalidStatusCode {
    Self(why) => "{why} is not a close code: the range is 1000 to 4999";
});

impl TryFrom<u16> for StatusCode {
    type Error = InvalidStatusCode;

    fn try_from(code: u16) -> Result<Self, InvalidStatusCode> {
        Self::from_u16(code).ok_or(InvalidStatusCode(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_defined_and_application_codes_are_sendable() {
        let sendable = |code| StatusCode::from_u16(code).is_some_and(StatusCode::is_sendable);
        for (range, expected) in [
            (0..=999, false),
            (1000..=1003, true),
            (1004..=1006, false),
            (1007..=1014, true),
            (1015..=2999, false),
            (3000..=4999, true),
            (5000..=u16::MAX, false),
        ] {
            for code in range {
                assert_eq!(sendable(code), expected, "{code}");
            }
        }
    }

    #[test]
    fn three_codes_are_a_normal_end() {
        let normal = (1000..5000).filter_map(StatusCode::from_u16).filter(|code| code.is_normal());
        assert_eq!(normal.map(StatusCode::as_u16).collect::<Vec<_>>(), [1000, 1001, 1005]);
    }

    #[test]
    fn codes_display_their_meaning() {
        assert_eq!(StatusCode::NORMAL_CLOSURE.to_string(), "1000 normal closure");
        assert_eq!(StatusCode(4321).to_string(), "4321");
        assert_eq!(StatusCode::try_from(999).unwrap_err(), InvalidStatusCode(999));
    }
}
