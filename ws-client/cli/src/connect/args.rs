//! Which options does `ws connect` have?

use std::time::Duration;

use clap::ValueEnum;

use crate::connect_options::{ConnectOptions, seconds};

/// Connects to a server, sends what is typed or piped in, and prints what arrives.
///
/// In a terminal there is a prompt with line editing and history; /help lists its commands, and
/// Ctrl-D closes. JSON is indented, and binary messages are shown in hex.
///
/// With a pipe as input or output, each line of the input is a text message, and each text
/// message is a line of the output. After the last line it waits until the server was silent for
/// 0.5 s (--wait), and closes.
///
/// With --reconnect, unconfirmed messages are sent again after the connection was lost. After the
/// last line it waits, without a limit, until the server has confirmed all messages; Ctrl-C and
/// --max-attempts end that. Unconfirmed messages are reported, with exit code 1.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct ConnectArgs {
    /// The URL: ws://… or wss://…; ws:// is the default
    pub(super) url: String,
    /// Sends a text message before the input; may be repeated
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(super) message: Vec<String>,
    /// Reconnects when the connection is lost, and resends unconfirmed messages
    #[arg(short, long)]
    pub(super) reconnect: bool,
    /// Gives up after N failed attempts in a row. Default: no limit
    #[arg(long, value_name = "N", requires = "reconnect")]
    pub(super) max_attempts: Option<u32>,
    /// Prints the time before each message
    #[arg(short, long)]
    pub(super) timestamps: bool,
    /// Whether to indent JSON
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = PrettyMode::Auto)]
    pub(super) pretty: PrettyMode,
    /// Prints one JSON object per line, for messages, notes and the end; binary messages in hex
    #[arg(long, conflicts_with_all = ["binary", "null", "pretty"])]
    pub(super) json: bool,
    /// Prints only messages
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Prints the response to the opening handshake
    #[arg(short, long)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) pipe: PipeOptions,
    // Last, since it starts a heading.
    #[command(flatten)]
    pub(super) options: ConnectOptions,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Through a pipe")]
pub(crate) struct PipeOptions {
    /// Sends the input as binary messages, and prints messages as bytes
    #[arg(short, long)]
    pub(super) binary: bool,
    /// Separates messages by a zero byte, in the input and the output
    #[arg(short = '0', long, conflicts_with = "binary")]
    pub(super) null: bool,
    /// Closes after N received messages
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// After the end of the input, closes when the server was silent for this time
    #[arg(short, long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(super) wait: Duration,
    /// After the end of the input, waits until the server closes
    #[arg(long, conflicts_with = "wait")]
    pub(super) stay: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrettyMode {
    /// In a terminal
    Auto,
    Always,
    Never,
}

const HELP: &str = "\
Examples:
  ws connect localhost:9000
  ws connect wss://example.com/chat -H 'Authorization: Bearer 7c2f' -s chat.v2
  echo '{\"op\":\"ping\"}' | ws connect -q wss://example.com/api
  ws connect -q -n 1 -m '{\"op\":\"time\"}' wss://example.com/api </dev/null
  ws connect --stay --reconnect wss://example.com/feed </dev/null >> feed.log
  ws connect -k wss://localhost:8443                 # a self-signed certificate

Exit codes: 0 for a normal closure, 10 plus the last two digits of a close code from 1001 to
1015, 30 and 40 for registered and private codes, 1 for no connection or, with --reconnect, for
unconfirmed messages (see ws --help).";
