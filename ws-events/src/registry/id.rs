//! What is the id of a socket?

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use ws_core::Escaped;

/// The id of a socket: a random UUID (version 4) until
/// [`Socket::set_id`](crate::Socket::set_id) changes it.
///
/// Cheap to clone. It compares and serialises as a string. Its `Display` is escaped, since an
/// application may have the id from a peer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id(pub(crate) Arc<str>);

impl Id {
    pub(crate) fn random() -> Self {
        let mut buffer = Uuid::encode_buffer();
        Self(Arc::from(&*Uuid::new_v4().hyphenated().encode_lower(&mut buffer)))
    }

    /// The id as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Id {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

impl From<String> for Id {
    fn from(id: String) -> Self {
        Self(Arc::from(id))
    }
}

impl From<&Self> for Id {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl PartialEq<str> for Id {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Id {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// The id, [escaped](Escaped). [`Id::as_str`] is the id itself.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not cut: two ids must not look the same.
        fmt::Display::fmt(&Escaped::new(&*self.0).uncut(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_id_is_compared_and_found_as_a_string() {
        let id = Id::from("ann");
        assert!(id == "ann" && id == *"ann" && id != "bob" && Id::from("ann".to_owned()) == id);
        assert_eq!(HashMap::from([(Id::from(&id), 1)]).get("ann"), Some(&1));
    }
}
