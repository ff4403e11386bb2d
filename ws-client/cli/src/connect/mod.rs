//! How does `ws connect` exchange messages between a user or a pipe and a server?

mod args;
mod connection;
mod hex;
mod json;
mod line_editor;
mod piped_input;
mod screen;
mod user_input;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::select;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use ws_client::StatusCode;
use ws_server_hyper::shutdown_signal;

pub(crate) use self::args::ConnectArgs;
use self::connection::{CONFIRM_TIMEOUT, Connection};
pub(crate) use self::line_editor::restore_terminal;
use self::screen::Screen;
use self::user_input::UserInput;
use crate::exit_code::INTERRUPTED;
use crate::print;

pub(crate) async fn run(args: ConnectArgs) -> Result<ExitCode> {
    let has_lines = !args.pipe.binary && !args.pipe.null && !args.json;
    let interactive = print::is_interactive() && has_lines;
    // Connects before the prompt, so that an error is printed without one.
    let args = Arc::new(args);
    let mut screen = Screen::new(Arc::clone(&args), interactive);
    let connection = select! {
        connection = Connection::open(&args, &screen) => connection?,
        () = shutdown_signal() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let hint = if interactive { "; /help, Ctrl-D closes" } else { "" };
    screen.note(&format!("connected ({}){hint}", connection.describe()));
    let input = if interactive {
        let (input, terminal) = line_editor::start()?;
        screen.show_above_prompt(terminal);
        input
    } else {
        piped_input::start(args.pipe.binary, args.pipe.null)
    };
    let screen = Arc::new(screen);
    connection.report_states(Arc::clone(&screen));
    let ended = exchange_messages(&args, connection, Arc::clone(&screen), input, interactive).await;
    screen.finish(ended.as_ref().map_or("", |(text, _)| text.as_str()));
    ended.map(|(_, code)| code)
}

/// Sends and prints messages until the end, and returns that as text and exit code.
async fn exchange_messages(
    args: &ConnectArgs,
    connection: Connection,
    screen: Arc<Screen>,
    input: Receiver<UserInput>,
    interactive: bool,
) -> Result<(String, ExitCode)> {
    let sending =
        send(args.message.clone(), input, connection.clone(), Arc::clone(&screen), interactive);
    let mut sending = tokio::spawn(sending);
    let mut sent = false;
    let mut interrupted = pin!(shutdown_signal());
    let (mut received, mut silent_until) = (0, None);
    let mut invalid_input = None;
    loop {
        select! {
            message = connection.read() => {
                let Some(message) = message else { return Ok(connection.end().await) };
                received += 1;
                // On a thread: it waits for the reader of the output.
                let screen = Arc::clone(&screen);
                let printed = spawn_blocking(move || screen.message(&message));
                let printed = select! {
                    printed = printed => printed?,
                    () = &mut interrupted => break,
                };
                if !printed || args.pipe.count == Some(received) {
                    break wait_for_confirmation(&connection).await;
                }
                silent_until = silent_until.map(|_| Instant::now() + args.pipe.wait);
            }
            done = &mut sending, if !sent => {
                sent = true;
                invalid_input = done?.err();
                if interactive || invalid_input.is_some() {
                    break wait_for_confirmation(&connection).await;
                }
                if !args.pipe.stay && args.pipe.count.is_none() {
                    silent_until = Some(Instant::now() + args.pipe.wait);
                }
            }
            () = sleep_until(silent_until.unwrap_or_else(Instant::now)),
                if silent_until.is_some() => break,
            () = &mut interrupted => break,
        }
    }
    connection.close(StatusCode::NORMAL_CLOSURE, "").await;
    match invalid_input {
        None => Ok(connection.end().await),
        Some(error) => Err(match connection.unconfirmed() {
            None => error,
            Some(unconfirmed) => anyhow!("{error:#}; {unconfirmed}"),
        }),
    }
}

/// Waits until the server has confirmed all messages, but not for long: the input has not ended, or is
/// invalid, so a user or a program is waiting.
async fn wait_for_confirmation(connection: &Connection) {
    select! {
        () = connection.confirm() => {}
        // Pongs are received only while messages are read.
        () = async { while connection.read().await.is_some() {} } => {}
        () = sleep(CONFIRM_TIMEOUT) => {}
        () = shutdown_signal() => {}
    }
}

/// Sends the input until its end. Runs concurrently with reading, since a server may not read
/// while its messages are not read.
async fn send(
    first: Vec<String>,
    mut input: Receiver<UserInput>,
    connection: Connection,
    screen: Arc<Screen>,
    interactive: bool,
) -> Result<()> {
    for text in first {
        connection.write(text.into()).await;
    }
    while let Some(typed) = input.recv().await {
        match typed {
            UserInput::Message(message) => connection.write(message).await,
            UserInput::Ping => {
                let (connection, screen) = (connection.clone(), Arc::clone(&screen));
                tokio::spawn(async move { screen.note(&connection.ping().await) });
            }
            UserInput::Close(code, reason) => {
                connection.close(code, &reason).await;
                // The reader reports the end.
                return std::future::pending().await;
            }
            UserInput::Help => screen.note(line_editor::HELP),
            UserInput::Invalid(problem) if interactive => screen.note(&problem),
            UserInput::Invalid(problem) => return Err(anyhow!(problem)),
        }
    }
    if !interactive {
        connection.settle().await;
    }
    Ok(())
}
