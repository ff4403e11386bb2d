//! How do events become calls of handlers?

pub(crate) mod dispatch;
pub(crate) mod event;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod listeners;
pub(crate) mod protocol;
