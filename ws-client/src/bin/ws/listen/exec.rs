//! How does a program that knows lines talk to a WebSocket?

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::select;
use tokio::time::timeout;
use ws_client::{Conn, Message, StatusCode};

/// How long a program may take to end when its client is gone.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a program until it ends, or the connection does.
pub(super) async fn run(
    conn: &Conn,
    program: &str,
    arguments: &[String],
    peer: SocketAddr,
    asked: &str,
) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("REMOTE_ADDR", peer.ip().to_string())
        .env("REQUEST_URI", asked)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("{program} has no input or no output");
    };
    select! {
        // Its input is closed with this: time to end.
        () = listen(conn, stdin) => {}
        said = speak(conn, stdout) => said?,
    }
    end(conn, program, &mut child).await
}

/// Each message is a line of its input.
async fn listen(conn: &Conn, mut stdin: ChildStdin) {
    while let Ok(message) = conn.read().await {
        let line = [message.as_bytes(), &b"\n"[..]].concat();
        // It may have closed its input, and still speak.
        if stdin.write_all(&line).await.is_err() {
            conn.closed().await;
        }
    }
}

/// Each line of its output is a message: text, if it is UTF-8.
async fn speak(conn: &Conn, stdout: ChildStdout) -> Result<()> {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        if stdout.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let message = Message::text_from_bytes(line).unwrap_or_else(Message::binary);
        conn.write(message).await?;
    }
}

async fn end(conn: &Conn, program: &str, child: &mut Child) -> Result<()> {
    let Ok(status) = timeout(GRACE, child.wait()).await else {
        child.kill().await?;
        bail!("{program} did not end with its input");
    };
    let status = status?;
    if !status.success() && conn.close_info().is_none() {
        // How it went is of no interest.
        let _ = conn.close(StatusCode::INTERNAL_ERROR, "").await;
        bail!("{program} ended with {status}");
    }
    Ok(())
}
