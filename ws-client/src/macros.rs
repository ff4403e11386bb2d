//! Which trait impls of this crate are written as tables?

/// Implements `From` for each source type, by a variant.
macro_rules! impl_from {
    ($target:ty { $($source:ty => $variant:expr),+ $(,)? }) => {
        $(impl From<$source> for $target {
            fn from(source: $source) -> Self {
                $variant(source)
            }
        })+
    };
}

/// Implements `Display` by a text for each case, and `Error` without a `source`, because the text
/// includes that of the cause: `impl_error!(SendError { Self::Length(n) => "{n} bytes"; })`.
///
/// `thiserror` does the same, but takes a sixth of the time that a small client takes to compile.
macro_rules! impl_error {
    ($type:ident { $($case:pat => $text:literal $(, $value:expr)*;)+ }) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $($case => write!(f, $text $(, $value)*),)+
                }
            }
        }

        impl std::error::Error for $type {}
    };
}
