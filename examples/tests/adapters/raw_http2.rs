//! How do tests send requests over HTTP/2 that no client sends?

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::Stream;

/// An HTTP/2 connection, spoken by hand: hyper's client does not send such requests.
pub(crate) struct RawHttp2(DuplexStream);

impl RawHttp2 {
    pub(crate) async fn connect(serve: impl Fn(Stream)) -> Self {
        let (mut io, server_io) = duplex(64 * 1024);
        serve(Box::new(server_io));
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        Self(io)
    }

    /// Sends a request with these headers, as literals (RFC 7541 §6.2.2).
    pub(crate) async fn request(&mut self, stream: u8, headers: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        // HEADERS with END_HEADERS, and with END_STREAM unless it is a CONNECT.
        let connect = headers.contains(&(":method", "CONNECT"));
        let flags = if connect { 4 } else { 5 };
        let len = u8::try_from(block.len()).unwrap();
        let frame = [&[0, 0, len, 1, flags, 0, 0, 0, stream], &block[..]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// Sends DATA frames, one for each piece. The server may have ended the connection.
    pub(crate) async fn data<'a>(&mut self, stream: u8, pieces: impl Iterator<Item = &'a [u8]>) {
        let mut frames = Vec::new();
        for piece in pieces {
            frames.extend([0, 0, u8::try_from(piece.len()).unwrap(), 0, 0, 0, 0, 0, stream]);
            frames.extend(piece);
        }
        let _ = self.0.write_all(&frames).await;
    }

    /// The next frame: its type, stream and payload. `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await.ok()?;
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((header[3], header[8], payload))
    }

    /// The answer to the request on this stream. `None` if the connection has ended.
    pub(crate) async fn answer(&mut self, stream: u8) -> Option<Answer> {
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        loop {
            match self.frame().await? {
                (HEADERS, of, block) if of == stream => {
                    // The first header is `:status`. Some are in the static table (RFC 7541 §A).
                    return Some(match block.first() {
                        Some(0x88) => Answer::Ok,
                        Some(0x8c) => Answer::BadRequest,
                        _ => Answer::OtherStatus,
                    });
                }
                (RST_STREAM, of, _) if of == stream => return Some(Answer::Reset),
                _ => {}
            }
        }
    }
}

/// How a server answers a request over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// 200.
    Ok,
    /// 400.
    BadRequest,
    OtherStatus,
    /// A reset of the stream.
    Reset,
}
