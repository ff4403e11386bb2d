//! What is a measured server told to do?

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// The arguments that every measured server takes.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// What to do with messages.
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    pub mode: Mode,
    /// How many threads serve.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Whether to agree to compression, and whether messages may refer to earlier ones.
    #[arg(long, value_enum, default_value_t = Deflate::Off)]
    pub deflate: Deflate,
    /// Which way of using the library, where there are several.
    #[arg(long, default_value = "")]
    pub variant: String,
    /// How many tasks write, where that can be chosen.
    #[arg(long, default_value_t = 1)]
    pub writers: usize,
}

/// What a server does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Sends each back to where it came from.
    Echo,
    /// Sends each to all the others.
    Fanout,
    /// Sends each back many times.
    Burst,
}

/// How often a message is sent back by [`Mode::Burst`].
pub const BURST: usize = 4000;

/// Which compression a server agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deflate {
    /// None.
    Off,
    /// Every message by itself.
    NoTakeover,
    /// Messages may refer to earlier ones.
    Takeover,
}

impl Options {
    /// The arguments of this process, for as long as it lives.
    pub fn of_process() -> &'static Self {
        Box::leak(Box::new(Self::parse()))
    }

    /// Is the library used in the way that `name` says?
    pub fn is(&self, name: &str) -> bool {
        self.variant.split('+').any(|word| word == name)
    }
}
