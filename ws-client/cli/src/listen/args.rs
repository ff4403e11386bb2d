//! Which options does `ws listen` have?

use std::net::SocketAddr;
use std::path::PathBuf;

use ws_client::StatusCode;

use crate::connect_options::{CompressionMode, code_and_reason};

/// A test server: echoes messages, broadcasts them, or exchanges them with a command.
///
/// Without options it echoes. Ctrl-C or SIGTERM closes all connections with 1001, and exits.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct ListenArgs {
    /// The address to listen on, or a port of 127.0.0.1; port 0 selects a free port
    #[arg(default_value = "127.0.0.1:9000", value_parser = address)]
    pub(super) address: SocketAddr,
    /// Sends each message to all other connections
    #[arg(short, long)]
    pub(super) broadcast: bool,
    /// Discards messages
    #[arg(long, conflicts_with = "broadcast")]
    pub(super) sink: bool,
    /// Closes each connection at once, for example with 4001 or '4001 come back later'
    #[arg(long, value_name = "CODE REASON", value_parser = code_and_reason, conflicts_with_all = ["broadcast", "sink"])]
    pub(super) close: Option<(StatusCode, String)>,
    /// Prints each message as a line
    #[arg(short, long)]
    pub(super) print: bool,
    /// Supports a subprotocol, in order of preference; may be repeated
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    pub(super) subprotocol: Vec<String>,
    /// Accepts compression (permessage-deflate). Default: off; without HOW: takeover
    #[arg(short, long, value_name = "HOW", num_args = 0..=1, default_missing_value = "takeover", require_equals = true)]
    pub(super) compress: Option<CompressionMode>,
    /// Allows web pages of an origin, such as https://*.example.com; may be repeated. Default: the
    /// same host
    #[arg(short, long, value_name = "PATTERN")]
    pub(super) origin: Vec<String>,
    /// Allows web pages of every origin
    #[arg(long, conflicts_with = "origin")]
    pub(super) any_origin: bool,
    /// The maximum length of a received message, after decompression
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub(super) max_size: usize,
    /// Serves TLS (wss://), HTTP/1.1 and HTTP/2, with the certificate in this PEM file; its key is
    /// there too, or in --key
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// The private key of --cert, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Does not print connections and their ends
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Runs a command for each connection: each message is a line of its input, each line of its
    /// output is a message. When the connection ends, the input ends: the command has 5 s to
    /// read the rest and 5 s to exit, and is then killed. When the command exits, its background
    /// processes are killed, and the connection closes
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["broadcast", "sink", "close"])]
    pub(super) command: Vec<String>,
}

const HELP: &str = "\
Examples:
  ws listen                                  # an echo server on 127.0.0.1:9000
  ws listen --print --broadcast 0.0.0.0:9000
  ws listen --compress -s chat.v2 -s chat.v1 9001
  ws listen --close '1013 too busy'          # to test how a client reacts
  ws listen --cert cert.pem --key key.pem    # wss://, also over HTTP/2
  ws listen -- bc -l                         # a calculator for each connection

The environment of a command has the client's address in REMOTE_ADDR, and the path and query in
REQUEST_URI.";

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("ws://").unwrap_or(text).trim_start_matches(':');
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.replace("localhost", "127.0.0.1")
        .parse()
        .map_err(|_| "write it as 127.0.0.1:9000, [::1]:9000, or 9000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_port() {
        for (typed, expected) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("localhost:0", "127.0.0.1:0"),
            ("ws://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(typed).unwrap().to_string(), expected);
        }
        assert!(address("example.com:80").is_err());
    }

    #[test]
    fn a_close_is_checked_when_it_is_parsed() {
        assert_eq!(code_and_reason("4001 see you").unwrap().1, "see you");
        assert_eq!(code_and_reason("1000").unwrap().1, "");
        for bad in ["", "1006", "soon", "999"] {
            assert!(code_and_reason(bad).is_err(), "{bad}");
        }
    }
}
