//! What are events, and how do they reach their handlers?
//!
//! [`protocol`] turns messages into events and back, with their [`data`]. [`listeners`] finds the
//! handlers of an event, [`dispatch`] calls them, and [`extract`] gives them their arguments.

mod attachments;
pub(crate) mod data;
pub(crate) mod data_de;
pub(crate) mod dispatch;
pub(crate) mod event;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod listeners;
pub(crate) mod payload;
pub(crate) mod protocol;
pub(crate) mod record;
pub(crate) mod shape;
