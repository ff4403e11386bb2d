//! What does a client show to get its session back?

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

/// 128 random bits. A client that has the token gets the session, so no log shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionToken(u128);

impl SessionToken {
    pub(crate) fn random() -> Self {
        // A cryptographic generator, seeded by the system.
        Self(rand::random())
    }

    /// For the client: 32 hexadecimal digits.
    pub(crate) fn reveal(self) -> String {
        format!("{:032x}", self.0)
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
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| ())
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
        let token = SessionToken(0xAB);
        let text = "000000000000000000000000000000ab";
        assert_eq!(token.reveal(), text);
        assert_eq!(text.parse(), Ok(token));
        assert_eq!(format!("{token:?}"), "SessionToken(…)");
        for wrong in ["", "ab", "+00000000000000000000000000000ab", &text.to_uppercase()] {
            assert_eq!(wrong.parse::<SessionToken>(), Err(()), "{wrong}");
        }
        assert_ne!(SessionToken::random(), SessionToken::random());
        // As `printf … | sha1sum` has it: the nodes of several versions find the same record.
        assert_eq!(token.key(), "7d7146828373d398707dc5dfec476c063bb8be32");
    }
}
