//! How is an error of another library written in one line?

use std::error::Error;
use std::fmt;

use ws_core::Escaped;

/// The texts of an error and its causes, in one line, escaped, so that text of a peer cannot
/// control a terminal. A text that is the end of the one before it is left out: some errors repeat
/// their cause.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.ends_with(&said) {
                text = format!("{text}: {said}");
            }
            next = cause.source();
        }
        Escaped::new(&text).uncut().fmt(f)
    }
}
