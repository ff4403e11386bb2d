//! Which arguments does a measured server take?

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use load::scenario::Deflate;

/// The arguments that every measured server takes.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Use of messages.
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    pub mode: Mode,
    /// Number of threads.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Compression, without or with context takeover.
    #[arg(long, value_enum, default_value_t = Deflate::Off)]
    pub deflate: Deflate,
    /// Way of using the library, where there are several.
    #[arg(long, default_value = "")]
    pub variant: String,
    /// Number of tasks that write, where that can be chosen.
    #[arg(long, default_value_t = 1)]
    pub writers: usize,
    /// Where a server over TLS writes its certificate, as DER.
    #[arg(long)]
    pub certificate: Option<PathBuf>,
}

/// The use of messages by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Sends each back to its sender.
    Echo,
    /// Sends each to all other connections.
    Fanout,
    /// Sends each back [`BURST`] times.
    Burst,
}

/// How often a message is sent back by [`Mode::Burst`].
pub const BURST: usize = 4000;

impl Options {
    /// The arguments of this process.
    pub fn of_process() -> &'static Self {
        Box::leak(Box::new(Self::parse()))
    }

    /// Whether `name` is in the variant.
    pub fn is(&self, name: &str) -> bool {
        self.variant.split('+').any(|word| word == name)
    }
}
