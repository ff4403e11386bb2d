//! What is sent to a server, what must come back, and what did it cost?

pub mod drive;
pub mod frame;
pub mod histogram;
pub mod meter;
pub mod report;
pub mod scenario;
pub mod script;
