//! How large may the head of a request be?

/// The maximum size of the head of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimit {
    pub(crate) bytes: usize,
    pub(crate) headers: usize,
}

impl HeadLimit {
    pub(crate) const DEFAULT: Self = Self { bytes: 16 * 1024, headers: 100 };
}
