//! What has gone over a connection is counted, and `tracing` learns the same.
#![cfg(test)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use support::{binary, close, connect, more, ping, pong, run, soon, text};
use tokio::io::AsyncWriteExt;
use tracing_subscriber::fmt::format::FmtSpan;
use ws_core::deflate::Params;
use ws_core::{
    AcceptOptions, Agreed, Compression, Config, Conn, Frame, MessageType, Prepared, Role, Stats,
    StatusCode,
};

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
        soon(conn.write_frame(Frame::text("y").fin(false))).await.unwrap();
        soon(conn.write_frame(Frame::text("z"))).await.unwrap_err();
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
            let agreed = Agreed { compression: Some(Params::default()), ..Agreed::default() };
            let compression = if takeover {
                Compression::context_takeover()
            } else {
                Compression::no_context_takeover()
            };
            let end = |io, role| {
                let config = Config::new().compression(compression.threshold(100));
                Conn::from_stream(io, role, agreed.clone(), Bytes::new(), config)
            };
            let (conn, peer) = (end(here, Role::Server), end(there, Role::Client));
            let words = "words ".repeat(100);
            soon(conn.write("too short")).await.unwrap();
            soon(conn.write(words.clone())).await.unwrap();
            soon(conn.write_prepared(&Prepared::new(words.clone()))).await.unwrap();
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

/// What is logged, in one place.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_span_has_the_connection_and_in_the_end_its_statistics() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || written.clone())
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 20);
            let id = conn.id();
            peer.send(&[text("hello"), close(1000, "")]).await;
            let options = AcceptOptions::new();
            let handler = async |conn: Conn| {
                tracing::info!("inside");
                while conn.read().await.is_ok() {}
            };
            soon(options.admit().unwrap().run(conn, handler)).await;
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let inside = text.lines().find(|line| line.ends_with("inside")).unwrap();
            assert!(inside.contains(&format!("websocket{{conn={id} role=Server")), "{text}");
            let close = text.lines().find(|line| line.contains("close")).unwrap();
            for field in ["messages_in=1", "frames_in=2", "close_sent=1000", "close_received=1000"]
            {
                assert!(close.contains(field), "{field}: {text}");
            }
        });
    });
}

/// Each field of the statistics, by its name and as it is recorded.
fn recorded(stats: &Stats) -> Vec<String> {
    let debug = format!("{stats:?}");
    let fields = debug.trim_start_matches("Stats { ").trim_end_matches(" }").split(", ");
    let plain = |field: &str| {
        let (name, value) = field.split_once(": ").unwrap();
        let value = value.trim_start_matches("Some(").trim_start_matches("StatusCode(");
        format!("{name}={}", value.trim_end_matches(')'))
    };
    fields.map(plain).collect()
}

#[test]
fn a_span_has_every_field_of_the_statistics_as_they_were_in_the_end() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || written.clone())
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let stats = run(async {
            let compression = Compression::context_takeover().threshold(0);
            let config = || Config::new().compression(compression);
            let (here, there) = ws_core::pair_with(config(), config());
            let span = here.span();
            here.values().clear();
            assert_eq!(here.span().id(), span.id());
            let words = "words ".repeat(100);
            soon(here.write(words.clone())).await.unwrap();
            soon(there.read()).await.unwrap();
            soon(there.write(words)).await.unwrap();
            soon(here.read()).await.unwrap();
            let reading = tokio::spawn(async move { there.read().await });
            soon(here.ping()).await.unwrap();
            soon(here.close(StatusCode::GOING_AWAY, "")).await.unwrap();
            soon(reading).await.unwrap().unwrap_err();
            here.stats()
        });
        let none = Stats::default();
        for (field, none) in recorded(&stats).iter().zip(recorded(&none)) {
            assert!(*field != none || field == "buffered=0", "{field}");
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let close = text.lines().find(|line| line.contains("close_sent=")).unwrap();
            assert!(close.split([' ', '{', '}']).any(|it| it == field), "{field}: {close}");
        }
        assert_eq!(recorded(&stats).len(), 14);
    });
}

#[test]
fn a_message_may_have_a_level_of_its_own_whatever_was_agreed() {
    for compression in [Compression::context_takeover(), Compression::no_context_takeover()] {
        run(async {
            let (here, there) = tokio::io::duplex(1 << 22);
            let agreed = Agreed { compression: Some(Params::default()), ..Agreed::default() };
            let end = |io, role| {
                let config = Config::new().compression(compression.threshold(0).level(1));
                Conn::from_stream(io, role, agreed.clone(), Bytes::new(), config)
            };
            let (conn, peer) = (end(here, Role::Server), end(there, Role::Client));
            let words: String = support::noise(20_000, 5)
                .iter()
                .map(|byte| char::from(b'a' + (byte % 5) * (byte % 3)))
                .collect();
            let mut sizes = Vec::new();
            // A new beginning for each, so that the sizes can be compared.
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
            // So may one in pieces, and the next has the usual one again.
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
            // A message in pieces may go plain.
            let before = conn.stats().after_deflate;
            let mut writer = soon(conn.writer(MessageType::Text)).await.unwrap().uncompressed();
            soon(writer.write_all(words.as_bytes())).await.unwrap();
            soon(writer.finish()).await.unwrap();
            assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(&words[..]));
            assert_eq!(conn.stats().after_deflate, before);
        });
    }
}
