//! Do two connections keep their guarantees, whatever the network and the applications do?

#[path = "../../tests/support/model.rs"]
mod model;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    model::check(data);
}
