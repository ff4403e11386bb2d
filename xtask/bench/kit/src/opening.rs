//! How does a server without a WebSocket library answer the opening handshake?

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use load::scenario::Deflate;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The response to the request at the start of `input`, and the length of the request; `None` while
/// the request is incomplete.
///
/// It reads the key only. It is for servers without their own handshake.
///
/// # Errors
///
/// The request has no key.
pub fn answer(input: &[u8]) -> Result<Option<(String, usize)>> {
    let Some(len) = input.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&input[..len]);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .context("the request has no sec-websocket-key")?;
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = BASE64_STANDARD.encode(hash.finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    Ok(Some((answer, len + 4)))
}

/// Answers the opening handshake on a stream.
///
/// # Errors
///
/// The stream ends early, or the request has no key.
pub async fn open(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    open_with(stream, Deflate::Off).await
}

/// As [`open`], and accepts compression without reading the offer.
///
/// # Errors
///
/// As [`open`].
pub async fn open_with(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    deflate: Deflate,
) -> Result<()> {
    let mut head = Vec::new();
    loop {
        ensure!(stream.read_buf(&mut head).await? > 0, "the stream ends during the handshake");
        if let Some((mut answer, _)) = answer(&head)? {
            if let Some(extensions) = deflate.extensions() {
                answer.truncate(answer.len() - 2);
                answer.push_str(&format!("sec-websocket-extensions: {extensions}\r\n\r\n"));
            }
            stream.write_all(answer.as_bytes()).await?;
            return Ok(stream.flush().await?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_has_the_accept_key_of_the_rfc() {
        let request = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        let (answer, len) = answer(request).unwrap().unwrap();
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        assert_eq!(&request[len..], b"rest");
    }

    #[test]
    fn half_a_request_is_not_answered() {
        assert!(answer(b"GET / HTTP/1.1\r\n").unwrap().is_none());
        assert!(answer(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
