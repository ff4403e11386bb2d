//! Which subprotocols may a client offer?

use std::collections::HashSet;

use super::headers;

/// The subprotocol cannot be offered: it is not a token, or it is repeated ([RFC 6455 §4.1]).
///
/// [RFC 6455 §4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSubprotocol {
    /// Its number in the list, from 1. The name itself may be a secret.
    number: usize,
}

impl_error!(InvalidSubprotocol {
    Self { number } => "subprotocol {number} of the offer is not a token, or is offered twice";
});

/// Checks the subprotocols that a client offers.
///
/// # Errors
///
/// When one of them is not a token, or is repeated.
pub fn check_subprotocols(subprotocols: &[String]) -> Result<(), InvalidSubprotocol> {
    let mut seen = HashSet::new();
    for (index, name) in subprotocols.iter().enumerate() {
        if headers::token(name.as_bytes()).is_none() || !seen.insert(name) {
            return Err(InvalidSubprotocol { number: index + 1 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_offer_each_token_once() {
        let check = |names: &[&str]| {
            check_subprotocols(&names.iter().copied().map(String::from).collect::<Vec<_>>()).is_ok()
        };
        assert!(check(&["chat.v2", "chat.v1", "Chat.v1"]));
        assert!(!check(&["chat", "chat"]));
        assert!(!check(&[""]));
        assert!(!check(&["chat, v2"]));
    }
}
