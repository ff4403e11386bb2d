//! Does this client work with the server of a peer?

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpStream;
use ws_client::{Compression, Conn, Dial, Error, Message, StatusCode, reqwest};

use crate::peers::{Ended, PeerServer};
use crate::rows::{Close, LONGEST, Rows};
use crate::server::write_fragments;

/// How the client connects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// By `Dial::connect`.
    Http,
    /// By `Dial::connect_over` with a TCP stream.
    Stream,
}

/// This client, with the server of a peer.
pub(crate) struct Client {
    pub(crate) way: Way,
    pub(crate) compression: Compression,
    pub(crate) server: PeerServer,
}

impl Client {
    /// Runs all rows. Returns the extensions that the server accepted.
    pub(crate) async fn run(mut self, rows: &Rows) -> Result<Option<String>> {
        let negotiated = self.whole(rows).await?;
        self.fragmented(rows).await?;
        self.pings().await?;
        for row in &rows.closes {
            let what = || format!("close with {} {:?}", row.code, row.reason);
            self.close(row).await.with_context(what)?;
        }
        for row in &rows.closed {
            let what = || format!("being closed with {} {:?}", row.code, row.reason);
            self.be_closed(row).await.with_context(what)?;
        }
        Ok(negotiated)
    }

    /// Messages in one frame each.
    async fn whole(&mut self, rows: &Rows) -> Result<Option<String>> {
        let (conn, negotiated) = self.dial("/echo").await?;
        ensure!(conn.subprotocol() == Some("echo"), "subprotocol {:?}", conn.subprotocol());
        ensure!(conn.is_compressed() == negotiated.is_some(), "{negotiated:?} was misunderstood");
        for &size in rows.sizes {
            for message in [text(size), binary(size)] {
                let what = || format!("{} of {size} bytes, whole", message.kind());
                let echo = async {
                    conn.write(&message).await?;
                    conn.read().await
                };
                same(&message, &echo.await.with_context(what)?).with_context(what)?;
            }
        }
        rows.check_bytes(conn.stats(), negotiated.is_some())?;
        self.end(conn, "/echo").await?;
        Ok(negotiated)
    }

    /// Messages in fragments, both ways.
    async fn fragmented(&mut self, rows: &Rows) -> Result<()> {
        let (conn, _) = self.dial("/fragments").await?;
        for &size in rows.fragments {
            for message in [text(size), binary(size)] {
                let what = || format!("{} of {size} bytes, in fragments", message.kind());
                let echo = async {
                    write_fragments(&conn, &message).await?;
                    conn.read().await
                };
                same(&message, &echo.await.with_context(what)?).with_context(what)?;
            }
        }
        self.end(conn, "/fragments").await
    }

    /// Pings both ways. The server sends `pong` after it has received a pong.
    async fn pings(&mut self) -> Result<()> {
        let (conn, _) = self.dial("/ping").await?;
        let said = conn.read().await.context("ping from the server")?;
        ensure!(said.as_text() == Some("pong"), "{said:?} in place of `pong`");
        for payload in [&b""[..], b"payload", &[0; 125]] {
            let what = || format!("ping with {} bytes", payload.len());
            conn.ping_with(payload).await.with_context(what)?;
        }
        self.end(conn, "/ping").await
    }

    /// A closing handshake that this client starts.
    async fn close(&mut self, row: &Close) -> Result<()> {
        let (conn, _) = self.dial(&row.path).await?;
        let code = StatusCode::from_u16(row.code).context("no such code")?;
        conn.close(code, &row.reason).await?;
        let ending = conn.closed().await;
        let answer = ending.received.as_ref().map(|close| close.code);
        ensure!(answer == Some(code), "the server answers by {ending:?}");
        self.expect(&row.path, row.code, Some(&row.reason)).await
    }

    /// A closing handshake that the server starts.
    async fn be_closed(&mut self, row: &Close) -> Result<()> {
        let (conn, _) = self.dial(&row.path).await?;
        match conn.read().await {
            Err(Error::Closed(close)) => ensure!(
                close.code.as_u16() == row.code && close.reason == row.reason,
                "it is closed with {close:?}"
            ),
            other => bail!("{other:?} in place of a close"),
        }
        ensure!(conn.closed().await.is_clean(), "that was not clean: {:?}", conn.closed().await);
        // The client echoes the code. The reason need not be echoed.
        self.expect(&row.path, row.code, None).await
    }

    async fn end(&mut self, conn: Conn, path: &str) -> Result<()> {
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.context("close")?;
        self.expect(path, 1000, Some("")).await
    }

    /// Waits for the server's report of how the connection ended.
    async fn expect(&mut self, path: &str, code: u16, reason: Option<&str>) -> Result<()> {
        let ended = self.server.ended().await?;
        let reason = reason.unwrap_or(&ended.reason).to_owned();
        let expected = Ended { path: path.to_owned(), code: Some(code.into()), reason };
        ensure!(ended == expected, "the server saw {ended:?}, and not {expected:?}");
        Ok(())
    }

    async fn dial(&self, path: &str) -> Result<(Conn, Option<String>)> {
        let address = self.server.address();
        let dial = Dial::new(format!("ws://{address}{path}"))
            .subprotocols(["unknown", "echo"])
            .compression(self.compression)
            .read_limit(LONGEST);
        let conn = match self.way {
            // No proxies of the environment, and no TLS.
            Way::Http => {
                let client = reqwest::Client::builder().http1_only().no_proxy();
                dial.client(client.tls_certs_only([]).build()?).connect().await
            }
            Way::Stream => dial.connect_over(TcpStream::connect(address).await?).await,
        }
        .with_context(|| format!("opening handshake for {path}"))?;
        let response = conn.response().context("no response")?;
        let negotiated = response.headers().get("sec-websocket-extensions");
        let negotiated =
            negotiated.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok((conn, negotiated))
    }
}

/// Text of this many bytes of UTF-8.
fn text(size: usize) -> Message {
    const PHRASE: &str = "Grüße aus 東京 🦀, and so on. ";
    let phrases = size / PHRASE.len();
    Message::text(PHRASE.repeat(phrases) + &".".repeat(size - phrases * PHRASE.len()))
}

/// Bytes that compress by half, in a window of 15 bits.
fn binary(size: usize) -> Message {
    // Repeated blocks: one for each deflate window that is just too small for it.
    const BLOCKS: [usize; 8] = [200, 300, 600, 1200, 2500, 5000, 10_000, 20_000];
    let mut random = 1_u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    let unit: Vec<u8> = BLOCKS
        .iter()
        .flat_map(|&block| (0..block).map(|_| byte()).collect::<Vec<_>>().repeat(2))
        .collect();
    let mut payload = unit.repeat(size / unit.len() + 1);
    payload.truncate(size);
    Message::binary(payload)
}

fn same(sent: &Message, received: &Message) -> Result<()> {
    ensure!(
        sent == received,
        "{} bytes of {} came back as {} bytes of {}, alike up to {:?}",
        sent.len(),
        sent.kind(),
        received.len(),
        received.kind(),
        sent.as_bytes()
            .iter()
            .zip(received.as_bytes())
            .position(|(sent, received)| sent != received),
    );
    Ok(())
}
