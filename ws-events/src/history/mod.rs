//! Which messages of a room are kept, and how does a client read those that it has missed?
//!
//! A room with a [`History`] numbers its messages. A [`Position`] names one of them. A
//! [`HistoryStore`] keeps them: [`MemoryHistory`] in this process, or a store that several
//! processes share. Nothing here knows a hub: a message is bytes, and an instant is an argument.

pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod position;
pub(crate) mod store;
