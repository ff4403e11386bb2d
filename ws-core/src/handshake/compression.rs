//! How do client and server negotiate `permessage-deflate` (RFC 7692 §7)?

use std::fmt;
use std::mem;

use http::header::HeaderMap;

use super::HandshakeError;
use super::extension::{self, Extension};
use crate::Compression;
use crate::config::CompressionMode;
use crate::deflate::Params;

const NAME: &str = "permessage-deflate";

/// The client's offer. `None` if compression is off.
pub(super) fn offer(ours: Compression) -> Option<String> {
    is_used(ours).then(|| Terms::offer(ours).to_string())
}

/// The server's answer to the first acceptable offer, and the negotiated parameters.
///
/// A malformed or unacceptable offer is declined. It never rejects the connection.
#[cfg(any(feature = "conn", feature = "server"))]
pub(super) fn answer(headers: &HeaderMap, ours: Compression) -> Option<(String, Params)> {
    if !is_used(ours) {
        return None;
    }
    let mut offers = extension::parse(headers).flatten().filter(|offer| offer.name == NAME);
    let answer = Terms::answer(&offers.find_map(|offer| Terms::parse(&offer))?, ours);
    Some((answer.to_string(), answer.params()))
}

/// Verifies the server's answer to our [`offer`]. Returns the negotiated parameters.
///
/// # Errors
///
/// When the answer exceeds the offer. The client must then fail the connection (RFC 6455 §4.1,
/// RFC 7692 §5.1).
pub(super) fn verify(
    headers: &HeaderMap,
    ours: Compression,
) -> Result<Option<Params>, HandshakeError> {
    let mut answer = None;
    for extension in extension::parse(headers) {
        let extension = extension.ok_or(HandshakeError::ExtensionsMalformed)?;
        if extension.name != NAME || !is_used(ours) {
            return Err(HandshakeError::ExtensionNotOffered);
        }
        if answer.replace(extension).is_some() {
            return Err(HandshakeError::ExtensionRepeated);
        }
    }
    let Some(answer) = answer else { return Ok(None) };
    let answer = Terms::parse(&answer).filter(|answer| Terms::offer(ours).covers(answer));
    let answer = answer.ok_or(HandshakeError::CompressionTerms)?.params();
    Ok(Some(Params {
        // The client may restrict itself further than the answer requires.
        client_no_context_takeover: answer.client_no_context_takeover || is_without_takeover(ours),
        client_max_window_bits: answer.client_max_window_bits.min(ours.window_bits),
        ..answer
    }))
}

/// What a client and a server with these settings negotiate.
#[cfg(feature = "conn")]
pub(crate) fn between(client: Compression, server: Compression) -> Option<Params> {
    let header = |value: &str| {
        let mut headers = HeaderMap::new();
        super::headers::set(&mut headers, http::header::SEC_WEBSOCKET_EXTENSIONS, value);
        headers
    };
    let (answer, _) = answer(&header(&offer(client)?), server)?;
    verify(&header(&answer), client).ok().flatten()
}

/// Is compression on, and can this crate compress?
const fn is_used(ours: Compression) -> bool {
    cfg!(feature = "deflate") && ours.is_on()
}

/// The parameters of one offer or answer (RFC 7692 §7.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientWindow,
}

/// The parameter `client_max_window_bits` (RFC 7692 §7.1.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ClientWindow {
    /// The parameter is missing.
    #[default]
    Unset,
    /// Without a value, in an offer: the server chooses.
    Any,
    /// With a value.
    Bits(u8),
}

impl Terms {
    /// Parses the parameters. `None` when one is unknown, repeated or has an invalid value.
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut terms = Self::default();
        for (name, value) in &extension.params {
            let repeated = match (*name, value.as_deref()) {
                ("server_no_context_takeover", None) => {
                    mem::replace(&mut terms.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    mem::replace(&mut terms.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(bits)) => {
                    terms.server_max_window_bits.replace(window_bits(bits)?).is_some()
                }
                ("client_max_window_bits", bits) => {
                    let bits = match bits {
                        None => ClientWindow::Any,
                        Some(bits) => ClientWindow::Bits(window_bits(bits)?),
                    };
                    mem::replace(&mut terms.client_max_window_bits, bits) != ClientWindow::Unset
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(terms)
    }

    fn offer(ours: Compression) -> Self {
        Self {
            server_no_context_takeover: is_without_takeover(ours),
            client_no_context_takeover: is_without_takeover(ours),
            server_max_window_bits: (ours.peer_window_bits < 15).then_some(ours.peer_window_bits),
            client_max_window_bits: match ours.window_bits {
                bits @ ..15 => ClientWindow::Bits(bits),
                _ => ClientWindow::Any,
            },
        }
    }

    #[cfg(any(feature = "conn", feature = "server"))]
    fn answer(offer: &Self, ours: Compression) -> Self {
        let server = offer.server_max_window_bits.unwrap_or(15).min(ours.window_bits);
        let client = match offer.client_max_window_bits {
            ClientWindow::Unset => ClientWindow::Unset,
            ClientWindow::Any if ours.peer_window_bits >= 15 => ClientWindow::Unset,
            ClientWindow::Any => ClientWindow::Bits(ours.peer_window_bits),
            ClientWindow::Bits(bits) => ClientWindow::Bits(bits.min(ours.peer_window_bits)),
        };
        let no_takeover = is_without_takeover(ours);
        Self {
            server_no_context_takeover: offer.server_no_context_takeover || no_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || no_takeover,
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server < 15)
                .then_some(server),
            client_max_window_bits: client,
        }
    }

    /// Whether `answer` is allowed by this offer.
    fn covers(&self, answer: &Self) -> bool {
        let takeover = answer.server_no_context_takeover || !self.server_no_context_takeover;
        let server = match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(asked), Some(answered)) => answered <= asked,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let client = match (self.client_max_window_bits, answer.client_max_window_bits) {
            (_, ClientWindow::Unset) | (ClientWindow::Any, ClientWindow::Bits(_)) => true,
            (ClientWindow::Bits(offered), ClientWindow::Bits(answered)) => answered <= offered,
            (_, ClientWindow::Any) | (ClientWindow::Unset, ClientWindow::Bits(_)) => false,
        };
        takeover && server && client
    }

    /// The parameters that this answer negotiates.
    fn params(&self) -> Params {
        Params {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.unwrap_or(15),
            client_max_window_bits: match self.client_max_window_bits {
                ClientWindow::Bits(bits) => bits,
                ClientWindow::Unset | ClientWindow::Any => 15,
            },
        }
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            ClientWindow::Bits(bits) => write!(f, "; client_max_window_bits={bits}"),
            ClientWindow::Any => f.write_str("; client_max_window_bits"),
            ClientWindow::Unset => Ok(()),
        }
    }
}

/// Whether our setting is to compress each message on its own.
fn is_without_takeover(ours: Compression) -> bool {
    ours.mode == CompressionMode::NoContextTakeover
}

/// A number from 8 to 15, in decimal and without leading zeros (RFC 7692 §7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_bits_are_8_to_15_and_nothing_else() {
        for bits in 0..=255u8 {
            let expected = (8..=15).contains(&bits).then_some(bits);
            assert_eq!(window_bits(&bits.to_string()), expected);
        }
        for text in ["", "08", "016", "+9", "-9", "9 ", "1e1", "0x9", "٩"] {
            assert_eq!(window_bits(text), None, "{text}");
        }
    }

    #[test]
    fn offers_contain_the_settings() {
        let check = |ours, expected: Option<&str>| assert_eq!(offer(ours).as_deref(), expected);
        check(Compression::off().window_bits(9), None);
        check(Compression::context_takeover(), Some("permessage-deflate; client_max_window_bits"));
        check(
            Compression::context_takeover().window_bits(10).peer_window_bits(9),
            Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"),
        );
        check(
            Compression::no_context_takeover(),
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 client_max_window_bits",
            ),
        );
    }
}
