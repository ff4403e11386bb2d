//! How does one talk to a server, by hand or through a pipe?

mod hex;
mod input;
mod json;
mod link;
mod screen;
mod typing;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tokio::select;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use ws_client::{Message, StatusCode};

use self::link::Link;
use self::screen::Screen;
use crate::print;
use crate::reach::{Reach, seconds};

/// Connects to a server: what is typed goes there, what it says is shown.
///
/// In a terminal there is a prompt, with line editing and a history; /help lists what else can
/// be typed there. Ctrl-D closes. JSON is indented, and binary messages are shown in hex.
///
/// With a pipe on either side, each line of the input is a text message, and each text message
/// a line of the output. After the last line it waits until the server has nothing more to
/// say, and closes.
///
/// With --reconnect, what was written when the connection is lost is sent again on the next one,
/// and after the last line it waits until the server has all of it, however long that takes;
/// Ctrl-C, or --max-attempts, ends that. If something was not confirmed in the end, it says so
/// and exits with 1.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct Args {
    /// Where to: ws://… or wss://…; ws:// may be left out
    url: String,
    /// A message to send first; may be repeated
    #[arg(short = 'm', long, value_name = "TEXT")]
    message: Vec<String>,
    /// Connects again whenever the connection is lost
    #[arg(short, long)]
    reconnect: bool,
    /// Gives up after so many attempts in a row
    #[arg(long, value_name = "N", requires = "reconnect")]
    max_attempts: Option<u32>,
    /// Puts the time in front of each message
    #[arg(short, long)]
    timestamps: bool,
    /// Whether to indent JSON
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pretty: When,
    /// Says nothing but the messages
    #[arg(short, long)]
    quiet: bool,
    /// Shows the answer of the server to the opening handshake
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    pipe: PipeArgs,
    // Behind the others: it begins a heading.
    #[command(flatten)]
    reach: Reach,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Through a pipe")]
pub(crate) struct PipeArgs {
    /// Sends what is read as binary messages, and writes binary messages as they are
    #[arg(short, long)]
    binary: bool,
    /// Messages end with a zero byte, not with a line: in the input and in the output
    #[arg(short = '0', long, conflicts_with = "binary")]
    null: bool,
    /// Closes after so many messages from the server
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// When the input has ended, closes after the server was silent for so long
    #[arg(short, long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    wait: Duration,
    /// When the input has ended, stays until the server closes
    #[arg(long, conflicts_with = "wait")]
    stay: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// In a terminal
    Auto,
    Always,
    Never,
}

/// How long one waits for the answer to a ping before one goes all the same.
const MOMENT: Duration = Duration::from_secs(5);

const HELP: &str = "\
Examples:
  ws connect localhost:9000
  ws connect wss://example.com/chat -H 'Authorization: Bearer 7c2f' -s chat.v2
  echo '{\"op\":\"ping\"}' | ws connect -q wss://example.com/api
  ws connect -q -n 1 -m '{\"op\":\"time\"}' wss://example.com/api </dev/null
  ws connect --stay --reconnect wss://example.com/feed </dev/null >> feed.log
  ws connect -k wss://localhost:8443                 # a certificate of one's own

The exit code says how it ended: 0 for normally, 10 and the last two digits of the close
code for 1001 to 1015, 30 and 40 for the codes of libraries and applications, 1 for no
connection, or for messages that --reconnect could not deliver (ws --help).";

/// Something from the input.
enum Typed {
    Message(Message),
    Ping,
    Close(StatusCode, String),
    Help,
    /// What was typed makes no sense.
    Problem(String),
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let interactive = print::is_interactive() && !args.pipe.binary && !args.pipe.null;
    // Connected first: an error needs no prompt.
    let mut screen = Screen::new(&args, interactive);
    let link = select! {
        link = Link::open(&args, &screen) => link?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    let input = if interactive {
        screen.note(&format!("connected ({}); /help, Ctrl-D closes", link.describe()));
        let (input, terminal) = typing::start()?;
        screen.show_above_prompt(terminal);
        input
    } else {
        screen.note(&format!("connected ({})", link.describe()));
        input::start(args.pipe.binary, args.pipe.null)
    };
    let screen = Arc::new(screen);
    link.tell_states(Arc::clone(&screen));
    let ended = talk(&args, link, Arc::clone(&screen), input, interactive).await;
    screen.finish(ended.as_ref().map_or("", |(text, _)| text.as_str()));
    ended.map(|(_, code)| code)
}

/// Sends and shows until it is over; says how it ended.
async fn talk(
    args: &Args,
    link: Link,
    screen: Arc<Screen>,
    input: Receiver<Typed>,
    interactive: bool,
) -> Result<(String, ExitCode)> {
    let first: Vec<_> = args.message.iter().map(|text| Message::text(text.as_str())).collect();
    let sending = send(first, input, link.clone(), Arc::clone(&screen), interactive);
    let mut sending = tokio::spawn(sending);
    let mut sent = false;
    let (mut received, mut silent_until) = (0, None);
    loop {
        select! {
            message = link.read() => {
                let Some(message) = message else { return Ok(link.ended().await) };
                received += 1;
                if !screen.message(&message) || args.pipe.count == Some(received) {
                    break confirm(&link).await;
                }
                silent_until = silent_until.map(|_| Instant::now() + args.pipe.wait);
            }
            done = &mut sending, if !sent => {
                sent = true;
                done??;
                if interactive {
                    break confirm(&link).await;
                }
                if !args.pipe.stay && args.pipe.count.is_none() {
                    silent_until = Some(Instant::now() + args.pipe.wait);
                }
            }
            () = until(silent_until) => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    link.close(StatusCode::NORMAL_CLOSURE, "").await;
    Ok(link.ended().await)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits a moment for the server to say that it has everything: with an input that has not
/// ended, or a prompt, somebody waits for us.
async fn confirm(link: &Link) {
    select! {
        () = link.confirm() => {}
        // Pongs come behind what nobody wants any more.
        () = async { while link.read().await.is_some() {} } => {}
        () = sleep(MOMENT) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Sends what is typed, to the end. Beside the reading: a server that waits for us to read
/// would else wait for ever, and we for it.
async fn send(
    first: Vec<Message>,
    mut input: Receiver<Typed>,
    link: Link,
    screen: Arc<Screen>,
    interactive: bool,
) -> Result<()> {
    for message in first {
        link.write(message).await;
    }
    while let Some(typed) = input.recv().await {
        match typed {
            Typed::Message(message) => link.write(message).await,
            Typed::Ping => {
                let (link, screen) = (link.clone(), Arc::clone(&screen));
                tokio::spawn(async move { screen.note(&link.ping().await) });
            }
            Typed::Close(code, reason) => {
                link.close(code, &reason).await;
                // How it ended is told by the reading.
                return std::future::pending().await;
            }
            Typed::Help => screen.note(typing::HELP),
            Typed::Problem(problem) if interactive => screen.note(&problem),
            Typed::Problem(problem) => return Err(anyhow!(problem)),
        }
    }
    if !interactive {
        link.settle().await;
    }
    Ok(())
}
