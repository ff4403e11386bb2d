//! Which locks, atomics, runtimes and connections do `delivery` and `registry` use?
//!
//! They name these through this module only. `tests/model.rs` puts another `sync` in its place,
//! whose types belong to shuttle, and checks both folders under many interleavings of threads.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) use parking_lot::{Mutex, RwLock};
pub(crate) use tokio::runtime::{Handle as Runtime, Id as RuntimeId};
pub(crate) use ws_core::adapter::Batch;

pub(crate) use crate::link::{Link, close_timeout, try_write_batch, write_batch};

/// The largest number of room members that share a lock. Smaller in tests, so that a room has
/// several segments.
pub(crate) const SEGMENT: usize = 256;
