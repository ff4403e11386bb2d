//! What does a client show to get its session back?

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

/// 128 random bits, and the node that made them. A client that has the token gets the session, so no
/// log shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionToken {
    /// Not a `u128`, whose alignment would make the future of each connection larger.
    secret: [u8; 16],
    /// The number of the node, if other nodes may get its sessions. They ask it for a session whose
    /// record is not written yet.
    node: Option<NonZero<u64>>,
}

impl SessionToken {
    pub(crate) fn random(node: Option<NonZero<u64>>) -> Self {
        // A cryptographic generator, seeded by the system.
        Self { secret: rand::random(), node }
    }

    pub(crate) const fn node(self) -> Option<NonZero<u64>> {
        self.node
    }

    /// For the client: 32 hexadecimal digits, and 16 for the node.
    pub(crate) fn reveal(self) -> String {
        let secret = u128::from_be_bytes(self.secret);
        self.node
            .map_or_else(|| format!("{secret:032x}"), |node| format!("{secret:032x}{node:016x}"))
    }

    /// For a store: who can read it gets no token. 40 hexadecimal digits.
    pub(crate) fn key(self) -> String {
        Sha1::digest(self.reveal()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for SessionToken {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if !text.bytes().all(is_digit) {
            return Err(());
        }
        let (secret, node) = text.split_at_checked(32).ok_or(())?;
        let node = match node.len() {
            0 => None,
            // One token has one text: a zero is no node.
            16 => Some(u64::from_str_radix(node, 16).ok().and_then(NonZero::new).ok_or(())?),
            _ => return Err(()),
        };
        let secret = u128::from_str_radix(secret, 16).map_err(|_| ())?.to_be_bytes();
        Ok(Self { secret, node })
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_text_and_is_not_shown() {
        for (node, text) in [
            (None, "000000000000000000000000000000ab"),
            (NonZero::new(0xCD), "000000000000000000000000000000ab00000000000000cd"),
        ] {
            let token = SessionToken { secret: 0xAB_u128.to_be_bytes(), node };
            assert_eq!(token.reveal(), text);
            assert_eq!(text.parse(), Ok(token));
            assert_eq!(format!("{token:?}"), "SessionToken(…)");
        }
        let text = SessionToken { secret: 0xAB_u128.to_be_bytes(), node: None }.reveal();
        let no_node = format!("{text}{:016x}", 0);
        let long = format!("{text}{:017x}", 1);
        let upper = text.to_uppercase();
        for wrong in ["", "ab", "+00000000000000000000000000000ab", &upper, &no_node, &long] {
            assert_eq!(wrong.parse::<SessionToken>(), Err(()), "{wrong}");
        }
        assert_ne!(SessionToken::random(None), SessionToken::random(None));
        // As `printf … | sha1sum` has it: the nodes of several versions find the same record.
        let token: SessionToken = text.parse().unwrap();
        assert_eq!(token.key(), "7d7146828373d398707dc5dfec476c063bb8be32");
    }
}
