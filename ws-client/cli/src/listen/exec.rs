//! How are messages exchanged with a command, as lines of its input and output?

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::select;
use tokio::time::timeout;
use ws_client::{Conn, Message, StatusCode};

/// How long the command may run after the connection has ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a command until it exits or the connection ends.
pub(super) async fn run(
    conn: &Conn,
    program: &str,
    arguments: &[String],
    peer: SocketAddr,
    request_uri: &str,
) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("REMOTE_ADDR", peer.ip().to_string())
        .env("REQUEST_URI", request_uri)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("{program} has no input or output");
    };
    select! {
        // Drops its input, which asks it to exit.
        () = write_lines(conn, stdin) => {}
        sent = send_lines(conn, stdout) => sent?,
    }
    wait_for_exit(conn, program, &mut child).await
}

/// Writes each message to its input, as a line.
async fn write_lines(conn: &Conn, mut stdin: ChildStdin) {
    while let Ok(message) = conn.read().await {
        let line = [message.as_bytes(), &b"\n"[..]].concat();
        // It has closed its input, but may still write output.
        if stdin.write_all(&line).await.is_err() {
            conn.closed().await;
        }
    }
}

/// Sends each line of its output as a message: text if it is UTF-8, else binary.
async fn send_lines(conn: &Conn, stdout: ChildStdout) -> Result<()> {
    let mut lines = BufReader::new(stdout).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        let message = Message::text_from_bytes(line).unwrap_or_else(Message::binary);
        conn.write(message).await?;
    }
    Ok(())
}

async fn wait_for_exit(conn: &Conn, program: &str, child: &mut Child) -> Result<()> {
    let Ok(status) = timeout(EXIT_TIMEOUT, child.wait()).await else {
        child.kill().await?;
        bail!("{program} did not exit after the end of its input");
    };
    let status = status?;
    if !status.success() && conn.close_info().is_none() {
        // The connection may have ended meanwhile.
        let _ = conn.close(StatusCode::INTERNAL_ERROR, "").await;
        bail!("{program} exited with {status}");
    }
    Ok(())
}
