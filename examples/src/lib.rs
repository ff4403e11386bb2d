//! How do the examples read their arguments, and listen?
//!
//! Each example that is a server has the option `--listen`, and each example has `--help`.

use std::fmt;

use anyhow::Context as _;
use clap::{Args, Command, FromArgMatches as _};
use listenfd::ListenFd;
use tokio::net::{TcpListener, ToSocketAddrs};

/// The option `--listen` of a server. Flatten it into the arguments of an example that has others.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// The address to listen on. Port 0 selects a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: String,
}

impl Listen {
    /// Reads the arguments of an example without other options. `--help` prints `about`, and ends
    /// the program. So does an argument that is not known.
    pub fn parse(about: &'static str) -> Self {
        let matches = Self::augment_args(Command::new("").about(about)).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Listens on the address, or on the socket of systemd if there is one.
    ///
    /// # Errors
    ///
    /// With the address and the cause, such as an address that another program uses.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        match systemd_socket().context("cannot use the socket of systemd (LISTEN_FDS)")? {
            Some(listener) => Ok(listener),
            // Started by hand.
            None => bind(&self.listen, "--listen").await,
        }
    }
}

/// The socket that systemd has opened for this process.
fn systemd_socket() -> std::io::Result<Option<TcpListener>> {
    let Some(listener) = ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

/// Listens on the address of an option.
///
/// # Errors
///
/// With the address, the option and the cause.
pub async fn bind(
    address: impl ToSocketAddrs + fmt::Display,
    option: &str,
) -> anyhow::Result<TcpListener> {
    TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another one with {option}"))
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listen.fmt(f)
    }
}

/// Listens on the address of `--listen`, which is the only option of the example.
///
/// # Errors
///
/// As [`Listen::bind`].
pub async fn listen(about: &'static str) -> anyhow::Result<TcpListener> {
    Listen::parse(about).bind().await
}

/// Reads the URL, which is the only argument of an example that is a client. `--help` prints
/// `about`, and ends the program.
pub fn url(about: &'static str) -> String {
    /// The only argument.
    #[derive(Args)]
    struct Url {
        /// The server: ws://… or wss://…
        url: String,
    }
    let matches = Url::augment_args(Command::new("").about(about)).get_matches();
    Url::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).url
}
