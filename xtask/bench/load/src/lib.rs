//! How is a server loaded, how are its replies checked, and how is its cost measured?

pub mod drive;
pub mod frame;
pub mod histogram;
pub mod meter;
pub mod options;
pub mod process;
pub mod report;
pub mod scenario;
pub mod script;
