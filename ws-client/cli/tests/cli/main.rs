//! Does `ws` behave as its help text says?
#![cfg(test)]

mod check;
#[cfg(target_os = "linux")]
mod command;
mod delivery;
mod json;
mod measure;
mod pipe;
mod program;
mod secrets;
#[cfg(unix)]
mod signals;
mod switches;
#[cfg(unix)]
mod terminal;
mod tls;
