//! How are messages exchanged with a command, as lines of its input and output?

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio::{pin, select};
use ws_client::{Conn, Message, StatusCode};

/// How long the command may take to read the rest of its input after the connection has ended, and
/// then to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of messages that are read ahead of the command, so that a ping or a close behind them
/// is seen while the command does not read.
const READ_AHEAD: usize = 1024 * 1024;

/// The maximum number of bytes of output that are read after the exit of the command: more than a
/// pipe holds. A process that has left the process group may write without end.
const MAX_LEFT: usize = 128 * 1024;

/// How long output is waited for after the exit of the command. A process that has left the process
/// group may keep the pipe open and write nothing.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a command until it exits or the connection ends.
///
/// The command has a process group of its own, which is killed when the command exits, and when
/// this function returns or is dropped.
pub(super) async fn run(
    conn: &Conn,
    program: &str,
    arguments: &[String],
    peer: SocketAddr,
    request_uri: &str,
) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("REMOTE_ADDR", peer.ip().to_string())
        .env("REQUEST_URI", request_uri)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut command =
        ProcessGroup::spawn(command).with_context(|| format!("cannot run {program}"))?;
    let (Some(stdin), Some(stdout)) = (command.child.stdin.take(), command.child.stdout.take())
    else {
        bail!("{program} has no input or output");
    };
    let (exited, mut status) = (Notify::new(), None);
    {
        // Dropped at the end of the block, with its input and output, which asks it to exit.
        let exchange = exchange_lines(conn, stdin, stdout, &exited);
        pin!(exchange);
        loop {
            select! {
                exchanged = &mut exchange => break exchanged?,
                ended = command.exit(), if status.is_none() => {
                    status = Some(ended?);
                    exited.notify_one();
                }
            }
        }
    }
    let status = match status {
        Some(status) => status,
        None => match timeout(EXIT_TIMEOUT, command.exit()).await {
            Ok(status) => status?,
            Err(_) => {
                command.kill();
                // Leaves no zombie.
                let _ = timeout(EXIT_TIMEOUT, command.exit()).await;
                bail!("{program} did not exit after the end of its input");
            }
        },
    };
    if !status.success() && conn.close_info().is_none() {
        // The connection may have ended meanwhile.
        let _ = conn.close(StatusCode::INTERNAL_ERROR, "").await;
        bail!("{program} exited with {status}");
    }
    Ok(())
}

/// Exchanges lines until the connection or the output of the command has ended. A command that does
/// not read the rest of its input has `EXIT_TIMEOUT` after the end of the connection.
async fn exchange_lines(
    conn: &Conn,
    stdin: ChildStdin,
    stdout: ChildStdout,
    exited: &Notify,
) -> Result<()> {
    let too_late = async {
        conn.closed().await;
        sleep(EXIT_TIMEOUT).await;
    };
    select! {
        () = write_lines(conn, stdin) => Ok(()),
        sent = send_lines(conn, stdout, exited) => sent,
        () = too_late => Ok(()),
    }
}

/// Writes each message to the input, as a line, until the connection has ended.
async fn write_lines(conn: &Conn, stdin: ChildStdin) {
    // `None` when the command has closed its input. It may still write output.
    let mut input = Some(stdin);
    let (mut waiting, mut ended) = (VecDeque::new(), false);
    while !ended || !waiting.is_empty() {
        select! {
            message = conn.read(), if !ended && waiting.len() < READ_AHEAD => match message {
                Ok(message) if input.is_some() => {
                    waiting.extend(message.as_bytes());
                    waiting.push_back(b'\n');
                }
                Ok(_) => {}
                Err(_) => ended = true,
            },
            written = write_some(&mut input, &waiting), if !waiting.is_empty() => match written {
                Ok(length) => drop(waiting.drain(..length)),
                Err(_) => (input, waiting) = (None, VecDeque::new()),
            },
        }
    }
}

async fn write_some(input: &mut Option<ChildStdin>, waiting: &VecDeque<u8>) -> io::Result<usize> {
    match input {
        Some(stdin) => stdin.write(waiting.as_slices().0).await,
        None => Ok(waiting.len()),
    }
}

/// Sends each line of the output as a message: text if it is UTF-8, else binary. After the exit of
/// the command, sends what it has written before.
async fn send_lines(conn: &Conn, stdout: ChildStdout, exited: &Notify) -> Result<()> {
    let mut lines = BufReader::new(stdout).split(b'\n');
    // After the exit: the bytes that are still read.
    let (mut left, mut sends) = (None, true);
    while left != Some(0) {
        let line = select! {
            biased;
            () = exited.notified(), if left.is_none() => {
                left = Some(MAX_LEFT);
                continue;
            }
            line = lines.next_segment() => line?,
            () = sleep(OUTPUT_TIMEOUT), if left.is_some() => None,
        };
        let Some(line) = line else { break };
        left = left.map(|bytes| bytes.saturating_sub(line.len() + 1));
        let message = Message::text_from_bytes(line).unwrap_or_else(Message::binary);
        // After the end of the connection, the command may still read the rest of its input.
        sends = sends && conn.write(message).await.is_ok();
    }
    Ok(())
}

/// A command in a process group of its own. The group is killed on drop.
struct ProcessGroup {
    child: Child,
    /// The id of the group, until it was killed.
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

impl ProcessGroup {
    fn spawn(mut command: Command) -> io::Result<Self> {
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn()?;
        #[cfg(unix)]
        let id = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
        Ok(Self {
            child,
            #[cfg(unix)]
            id,
        })
    }

    /// Waits until the command exits, and then kills its background processes.
    async fn exit(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill();
        status
    }

    fn kill(&mut self) {
        // An error means that no process is left.
        #[cfg(unix)]
        if let Some(id) = self.id.take() {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
        #[cfg(not(unix))]
        let _ = self.child.start_kill();
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
