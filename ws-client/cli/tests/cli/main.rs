//! Does `ws` behave as its help text says?
#![cfg(test)]

mod check;
mod delivery;
mod measure;
mod pipe;
mod program;
mod switches;
#[cfg(unix)]
mod terminal;
mod tls;
