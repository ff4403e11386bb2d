//! Which locks does the hub stand on?
//!
//! The structures that are changed from many threads (`rooms`, `directory`, `mailbox`, `bell`) name
//! their locks and counts through here, so that the model test can put others in their
//! place, under which every order of threads is tried.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) use parking_lot::{Mutex, RwLock};

/// How many members of a room share a lock. Fewer in tests, so that there are several.
pub(crate) const SEGMENT: usize = 256;
