//! Which trait impls of this crate are written as tables?

/// Implements `From` for each source type, by a function:
/// `impl_from!(Error { CloseError => Self::Closed })`.
macro_rules! impl_from {
    ($target:ty { $($source:ty => $convert:expr),+ $(,)? }) => {
        $(impl From<$source> for $target {
            fn from(source: $source) -> Self {
                $convert(source)
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

/// Implements `Debug` by the listed fields, for a type that has others too:
/// `impl_debug!(ByteStream, this => { conn: this.conn() })`.
#[cfg(feature = "conn")]
macro_rules! impl_debug {
    ($type:ident, $this:ident => { $($field:ident: $value:expr),+ $(,)? }) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $this = self;
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &$value))+
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Implements `Default` by a constructor: `impl_default!(Config, Self::new())`.
macro_rules! impl_default {
    ($type:ident, $constructor:expr) => {
        impl Default for $type {
            fn default() -> Self {
                $constructor
            }
        }
    };
}
