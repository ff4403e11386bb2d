//! How does a client of Socket.IO use HTTP long-polling?

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// What separates packets in a body.
const SEPARATOR: char = '\x1e';

/// A connection of HTTP/1.1 that is used again.
struct Http {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Http {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { address, stream: BufReader::new(tcp) })
    }

    /// Sends a request, and returns the body of the answer.
    async fn ask(&mut self, method: &str, session: &str, body: &str) -> Result<String> {
        let Self { address, stream } = self;
        let path = format!("/socket.io/?EIO=4&transport=polling{session}");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: text/plain;charset=UTF-8\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let (mut first, mut length, mut line) = (String::new(), None, String::new());
        stream.read_line(&mut first).await?;
        loop {
            line.clear();
            ensure!(stream.read_line(&mut line).await? > 0, "the connection has ended");
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = Some(value.trim().parse()?);
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8(body)?;
        ensure!(first.starts_with("HTTP/1.1 200 "), "{}: {body}", first.trim_end());
        Ok(body)
    }
}

/// A session of Engine.IO.
pub(super) struct Polling {
    /// `&sid=…`
    session: String,
    gets: Mutex<Http>,
    posts: Mutex<Http>,
    arrived: Mutex<VecDeque<String>>,
}

impl Polling {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let (mut gets, posts) = (Http::connect(address).await?, Http::connect(address).await?);
        let opened = gets.ask("GET", "", "").await?;
        let opened: serde_json::Value =
            serde_json::from_str(opened.strip_prefix('0').context("no session")?)?;
        let session = format!("&sid={}", opened["sid"].as_str().context("no id")?);
        let (gets, posts, arrived) = (gets.into(), posts.into(), Mutex::default());
        Ok(Self { session, gets, posts, arrived })
    }

    /// The path of the WebSocket to which the session may move.
    pub(super) fn upgrade(&self) -> String {
        format!("socket.io/?EIO=4&transport=websocket{}", self.session)
    }

    pub(super) async fn send(&self, packets: &[String]) -> Result<()> {
        let body = packets.join(&SEPARATOR.to_string());
        let answer = self.posts.lock().await.ask("POST", &self.session, &body).await?;
        ensure!(answer == "ok", "{answer} for a POST");
        Ok(())
    }

    /// The next message. Pings are answered.
    pub(super) async fn next(&self) -> Result<String> {
        loop {
            if let Some(packet) = self.arrived.lock().await.pop_front() {
                return Ok(packet);
            }
            let body = self.gets.lock().await.ask("GET", &self.session, "").await?;
            for packet in body.split(SEPARATOR) {
                match packet {
                    "2" => self.send(&["3".to_owned()]).await?,
                    "6" => {}
                    "1" => bail!("the server has closed the session"),
                    packet => self.arrived.lock().await.push_back(packet.to_owned()),
                }
            }
        }
    }
}
