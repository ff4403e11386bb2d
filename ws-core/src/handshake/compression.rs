//! Do both sides want `permessage-deflate`, and on which terms (RFC 7692 §7)?

use std::fmt;
use std::mem;

use http::header::HeaderMap;

use super::HandshakeError;
use super::extension::{self, Extension};
use crate::Compression;
use crate::config::CompressionMode;
use crate::deflate::Params;

const NAME: &str = "permessage-deflate";

/// The client's offer, if it wants compression.
pub(super) fn offer(ours: Compression) -> Option<String> {
    ours.is_on().then(|| Terms::offer(ours).to_string())
}

/// The server's answer to the first offer that it can accept, and what it means.
///
/// An offer that is malformed or unacceptable is declined, which is never a reason
/// to refuse the connection.
pub(super) fn answer(headers: &HeaderMap, ours: Compression) -> Option<(String, Params)> {
    if !ours.is_on() {
        return None;
    }
    let mut offers = extension::parse(headers).flatten().filter(|offer| offer.name == NAME);
    let answer = Terms::answer(&offers.find_map(|offer| Terms::parse(&offer))?, ours);
    Some((answer.to_string(), answer.params()))
}

/// What the server's answer means to the client that made our [`offer`].
///
/// # Errors
///
/// Fails when the answer goes beyond the offer: the client must then fail the
/// connection (RFC 6455 §4.1, RFC 7692 §5.1).
pub(super) fn verify(
    headers: &HeaderMap,
    ours: Compression,
) -> Result<Option<Params>, HandshakeError> {
    let mut answer = None;
    for extension in extension::parse(headers) {
        let extension = extension.ok_or(HandshakeError::ExtensionsMalformed)?;
        if extension.name != NAME || !ours.is_on() {
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
        // What the server leaves open is up to us.
        client_no_context_takeover: answer.client_no_context_takeover || forgets(ours),
        client_max_window_bits: answer.client_max_window_bits.min(ours.window_bits),
        ..answer
    }))
}

/// The parameters of one offer or answer (RFC 7692 §7.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)` without a value, as only an offer may have it: the client leaves
    /// the window to the server.
    client_max_window_bits: Option<Option<u8>>,
}

impl Terms {
    /// Reads the parameters; `None` when one is unknown, repeated or has no business
    /// with its value.
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
                ("client_max_window_bits", None) => {
                    terms.client_max_window_bits.replace(None).is_some()
                }
                ("client_max_window_bits", Some(bits)) => {
                    terms.client_max_window_bits.replace(Some(window_bits(bits)?)).is_some()
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
            server_no_context_takeover: forgets(ours),
            client_no_context_takeover: forgets(ours),
            server_max_window_bits: (ours.peer_window_bits < 15).then_some(ours.peer_window_bits),
            client_max_window_bits: Some((ours.window_bits < 15).then_some(ours.window_bits)),
        }
    }

    fn answer(offer: &Self, ours: Compression) -> Self {
        let server = offer.server_max_window_bits.unwrap_or(15).min(ours.window_bits);
        let client = offer.client_max_window_bits.map(|bits| {
            let agreed = bits.unwrap_or(15).min(ours.peer_window_bits);
            (bits.is_some() || agreed < 15).then_some(agreed)
        });
        Self {
            server_no_context_takeover: offer.server_no_context_takeover || forgets(ours),
            client_no_context_takeover: offer.client_no_context_takeover || forgets(ours),
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server < 15)
                .then_some(server),
            client_max_window_bits: client.flatten().map(Some),
        }
    }

    /// May this offer be answered so?
    fn covers(&self, answer: &Self) -> bool {
        let takeover = answer.server_no_context_takeover || !self.server_no_context_takeover;
        let server = match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(asked), Some(answered)) => answered <= asked,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let client = match (self.client_max_window_bits, answer.client_max_window_bits) {
            (Some(offered), Some(Some(answered))) => answered <= offered.unwrap_or(15),
            (_, None) => true,
            (_, Some(None)) | (None, Some(_)) => false,
        };
        takeover && server && client
    }

    /// What these terms mean when they are an answer.
    fn params(&self) -> Params {
        Params {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.unwrap_or(15),
            client_max_window_bits: self.client_max_window_bits.flatten().unwrap_or(15),
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
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// Do we want every message by itself?
fn forgets(ours: Compression) -> bool {
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
    fn offers_say_what_was_set() {
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
