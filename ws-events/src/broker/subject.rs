//! On which subject is an envelope published?

use std::fmt;
use std::sync::Arc;

/// The longest subject, in bytes.
const MAX_LEN: usize = 200;

/// A name that envelopes are published on and that processes subscribe to, such as `ws.p64.7`.
///
/// It has 1 to 200 bytes: ASCII letters, digits, `-` and `_`, in parts between dots. So it is valid
/// in every broker. It is cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// The text is no [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject has 1 to 200 ASCII letters, digits, `-` and `_`, in parts between dots")]
#[non_exhaustive]
pub struct InvalidSubject;

impl Subject {
    /// A subject with this name.
    ///
    /// # Errors
    ///
    /// If the name is not allowed.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        let name = name.as_ref();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_allowed);
        let is_valid = name.len() <= MAX_LEN && name.split('.').all(is_part);
        if is_valid { Ok(Self(Arc::from(name))) } else { Err(InvalidSubject) }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Subject {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// It has no characters that a log or a terminal could misunderstand.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_valid_in_every_broker() {
        let longest = "x".repeat(MAX_LEN);
        for name in ["a", "ws.all", "my-app_1.p64.63", &longest] {
            assert_eq!(Subject::new(name).as_ref().map(Subject::as_str), Ok(name));
        }
        let too_long = "x".repeat(MAX_LEN + 1);
        for name in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "ü", "{a}", &too_long] {
            assert_eq!(Subject::new(name), Err(InvalidSubject), "{name}");
        }
    }
}
