//! Does a connection count its messages, frames and bytes?

use crate::support::{binary, close, connect, more, ping, pong, run, soon, text};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use ws_core::deflate::Params;
use ws_core::frame::Frame;
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, MessageType, PreparedMessage, Role, StatusCode};

use crate::support;

#[test]
fn frames_messages_and_close_codes_are_counted() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 20);
        peer.send(&[text("a").open(), more("b").open(), ping("p"), more("c"), binary("d")]).await;
        soon(conn.read()).await.unwrap();
        soon(conn.read()).await.unwrap();
        let stats = conn.stats();
        assert_eq!((stats.messages_in, stats.frames_in), (2, 5));
        assert_eq!((stats.messages_out, stats.frames_out), (0, 1), "the pong");
        soon(conn.write("x")).await.unwrap();
        let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap();
        for _ in 0..3 {
            soon(writer.write_all(b"piece")).await.unwrap();
            soon(writer.flush()).await.unwrap();
        }
        soon(writer.finish()).await.unwrap();
        soon(conn.frames().write(Frame::text("y").fin(false))).await.unwrap();
        soon(conn.frames().write(Frame::text("z"))).await.unwrap_err();
        let stats = conn.stats();
        assert_eq!((stats.messages_out, stats.frames_out), (2, 1 + 1 + 4));
        assert_eq!((stats.close_sent, stats.close_received, stats.rtt), (None, None, None));
        peer.send(&[close(4001, "")]).await;
        soon(conn.read()).await.unwrap_err();
        let stats = conn.stats();
        let code = StatusCode::from_u16(4001);
        assert_eq!((stats.close_sent, stats.close_received), (code, code));
        assert_eq!((stats.frames_in, stats.buffered), (6, 0));
    });
}

#[test]
fn a_message_that_a_closed_connection_refuses_is_not_counted() {
    run(async {
        let (conn, _peer) = connect(Role::Server, Config::new(), None, 1 << 20);
        let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap();
        soon(writer.write_all(b"piece")).await.unwrap();
        conn.close_now();
        soon(writer.finish()).await.unwrap_err();
        soon(conn.write("x")).await.unwrap_err();
        soon(conn.frames().write(Frame::text("y"))).await.unwrap_err();
        assert_eq!(conn.stats().messages_out, 0);
    });
}

#[test]
fn fragments_that_are_cut_here_are_counted() {
    run(async {
        let config = Config::new().fragment_size(4);
        let (conn, mut peer) = connect(Role::Client, config, None, 1 << 20);
        soon(conn.write("0123456789")).await.unwrap();
        assert_eq!((conn.stats().messages_out, conn.stats().frames_out), (1, 3));
        for _ in 0..3 {
            peer.frame().await.unwrap();
        }
        let pinging = tokio::spawn({
            let conn = conn.clone();
            async move { conn.ping().await }
        });
        let payload = peer.frame().await.unwrap().payload;
        peer.send(&[pong(payload)]).await;
        let rtt = soon(pinging).await.unwrap().unwrap();
        assert_eq!(conn.stats().rtt, Some(rtt));
    });
}

#[test]
fn bytes_are_counted_before_and_after_compression() {
    for takeover in [false, true] {
        run(async {
            let (here, there) = tokio::io::duplex(1 << 20);
            let negotiated =
                Negotiated { compression: Some(Params::default()), ..Negotiated::default() };
            let compression = if takeover {
                Compression::context_takeover()
            } else {
                Compression::no_context_takeover()
            };
            let end = |io, role| {
                let config = Config::new().compression(compression.threshold(100));
                Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config)
            };
            let (conn, peer) = (end(here, Role::Server), end(there, Role::Client));
            let words = "words ".repeat(100);
            soon(conn.write("too short")).await.unwrap();
            soon(conn.write(words.clone())).await.unwrap();
            soon(conn.write_prepared(&PreparedMessage::new(words.clone()))).await.unwrap();
            let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap();
            soon(writer.write_all(words.as_bytes())).await.unwrap();
            soon(writer.finish()).await.unwrap();
            for _ in 0..4 {
                soon(peer.read()).await.unwrap();
            }
            let (sent, received) = (conn.stats(), peer.stats());
            assert_eq!(sent.before_deflate, 3 * 600, "{sent:?}");
            assert!(sent.after_deflate < 300, "{sent:?}");
            assert_eq!(
                (received.before_inflate, received.after_inflate),
                (sent.after_deflate, sent.before_deflate)
            );
            assert_eq!((sent.before_inflate, received.before_deflate), (0, 0));
        });
    }
}

#[test]
fn a_message_may_have_a_level_of_its_own_whatever_was_agreed() {
    for compression in [Compression::context_takeover(), Compression::no_context_takeover()] {
        run(async {
            let (here, there) = tokio::io::duplex(1 << 22);
            let negotiated =
                Negotiated { compression: Some(Params::default()), ..Negotiated::default() };
            let end = |io, role| {
                let config = Config::new().compression(compression.threshold(0).level(1));
                Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config)
            };
            let (conn, peer) = (end(here, Role::Server), end(there, Role::Client));
            let words: String = support::noise(20_000, 5)
                .iter()
                .map(|byte| char::from(b'a' + (byte % 5) * (byte % 3)))
                .collect();
            let mut sizes = Vec::new();
            // A new connection for each, so that the sizes can be compared.
            for level in [None, Some(0), Some(9), Some(1), None] {
                let words = format!("{level:?}{words}");
                let message = ws_core::Message::from(words.clone());
                let message = match level {
                    Some(level) => message.compression_level(level),
                    None => message,
                };
                let before = conn.stats().after_deflate;
                soon(conn.write(message)).await.unwrap();
                sizes.push(conn.stats().after_deflate - before);
                assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(&words[..]));
            }
            if compression == Compression::no_context_takeover() {
                let [usual, stored, small, fast, last] = sizes[..] else { panic!("{sizes:?}") };
                assert!(stored == 0 && small < usual, "{sizes:?}");
                assert!(fast.abs_diff(usual) < 200 && last == usual, "{sizes:?}");
            }
            let usual = sizes[0];
            // A message in pieces may have its own level. The next one uses the default again.
            let mut sizes = Vec::new();
            for level in [None, Some(0), Some(9), None] {
                let before = conn.stats().after_deflate;
                let words = format!("{level:?}{words}");
                let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap();
                if let Some(level) = level {
                    writer = writer.compression_level(level);
                }
                soon(writer.write_all(words.as_bytes())).await.unwrap();
                writer = writer.compression_level(9);
                soon(writer.finish()).await.unwrap();
                assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(&words[..]));
                sizes.push(conn.stats().after_deflate - before);
            }
            if compression == Compression::no_context_takeover() {
                let [usual, stored, small, last] = sizes[..] else { panic!("{sizes:?}") };
                assert!(stored >= 20_000 && small < usual && last == usual, "{sizes:?}");
            }
            // A message in pieces may be uncompressed. A level that it had changes nothing.
            for level in [None, Some(0), Some(9)] {
                let before = conn.stats().after_deflate;
                let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap();
                if let Some(level) = level {
                    writer = writer.compression_level(level);
                }
                writer = writer.uncompressed();
                soon(writer.write_all(words.as_bytes())).await.unwrap();
                soon(writer.finish()).await.unwrap();
                assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(&words[..]));
                assert_eq!(conn.stats().after_deflate, before);
                let next = format!("None{words}");
                soon(conn.write(next.clone())).await.unwrap();
                assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(&next[..]));
                let size = conn.stats().after_deflate - before;
                assert!(size == usual || compression != Compression::no_context_takeover());
            }
        });
    }
}
