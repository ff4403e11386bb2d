//! Is every input of a client answered, and does its connection end with the input?

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_core::frame::{Header, OpCode};
use ws_core::handshake::head::decode_response;
use ws_core::handshake::{AcceptOptions, Acceptor, Origin};
use ws_core::{AcceptError, Compression, Conn, Error};

use crate::Input;

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.byte();
    let mut cuts = input.cuts();
    let mut wire = input.rest();
    let mut options = AcceptOptions::new().origin(Origin::any());
    if settings & 1 != 0 {
        options = options.compression(Compression::context_takeover());
    }
    let stays = settings & 2 != 0;
    let (result, answer) = crate::paused(async {
        let (client, server) = duplex(256);
        let (mut from_server, mut to_server) = tokio::io::split(client);
        let serving = tokio::spawn(Acceptor::new(&options).serve(server, echo));
        let sending = async {
            while !wire.is_empty() && to_server.write_all(cuts.split(&mut wire)).await.is_ok() {
                yield_now().await;
            }
            // A client that stays is let go after a timeout.
            if !stays {
                let _ = to_server.shutdown().await;
            }
        };
        let mut answer = Vec::new();
        let all = async { tokio::join!(sending, from_server.read_to_end(&mut answer), serving) };
        let ended = timeout(FOREVER, all).await;
        let ((), read, served) = ended.expect("it hangs");
        read.expect("a pipe does not fail");
        (served.expect("nothing panics"), answer)
    });
    let head = decode_response(&answer).expect("an answer that can be read");
    match (result, head) {
        (Ok(()), Some((response, taken))) => {
            assert_eq!(response.status().as_u16(), 101);
            check_frames(&answer[taken..]);
        }
        (Err(AcceptError::Rejected(rejection)), Some((response, _))) => {
            assert_eq!(response.status(), rejection.status());
        }
        // The client has left before the answer.
        (Err(AcceptError::Rejected(_) | AcceptError::Io(_)), None) => {}
        (result, head) => panic!("{result:?}, {head:?}"),
    }
}

/// The frames of a server are whole and valid. A close frame is the last.
fn check_frames(mut bytes: &[u8]) {
    while let Some((header, head)) = Header::decode(bytes) {
        let len = usize::try_from(header.len).expect("a short frame");
        assert!(header.mask.is_none() && header.minimal && bytes.len() >= head + len);
        bytes = &bytes[head + len..];
        assert!(header.opcode != OpCode::CLOSE || bytes.is_empty(), "{bytes:?} after a close");
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:?}");
}
