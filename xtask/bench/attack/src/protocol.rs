//! What happens when a client violates the WebSocket protocol or sends too much?

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use flate2::{Compress, Compression, FlushCompress};

use crate::report::{Finding, Report};
use crate::serve::Adapter;
use crate::target::Target;
use crate::wire::{self, DEFLATE, End, frame};

/// A violation, the bytes after the opening handshake, and the code of the close frame.
type Abuse = (&'static str, Vec<u8>, u16);

fn abuses() -> Vec<Abuse> {
    let join = |frames: &[Vec<u8>]| frames.concat();
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    let mut rows: Vec<Abuse> = vec![
        ("unmasked text", b"\x81\x02hi".to_vec(), 1002),
        ("unmasked close", b"\x88\x02\x03\xe8".to_vec(), 1002),
        ("RSV1 without an extension", frame(0xc1, b"a"), 1002),
        ("RSV2", frame(0xa1, b"a"), 1002),
        ("RSV3", frame(0x91, b"a"), 1002),
        ("RSV1 on a ping", frame(0xc9, b"a"), 1002),
        ("fragmented ping", frame(0x09, b"a"), 1002),
        ("fragmented close", frame(0x08, b""), 1002),
        ("ping of 126 B", frame(0x89, &[0; 126]), 1002),
        ("close of 126 B", frame(0x88, &[0x03; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"a"), 1002),
        ("message inside a message", join(&[frame(0x01, b"a"), frame(0x81, b"b")]), 1002),
        ("16-bit length of 5", b"\x82\xfe\0\x05\0\0\0\0abcde".to_vec(), 1002),
        ("64-bit length of 5", b"\x82\xff\0\0\0\0\0\0\0\x05\0\0\0\0abcde".to_vec(), 1002),
        ("length of 64 bits", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), 1002),
        ("length of 2^62", b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0".to_vec(), 1009),
        ("length of 1 MiB + 1", b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0".to_vec(), 1009),
        (
            "fragments of 1 MiB + 1",
            {
                let half = vec![0; 512 * 1024];
                join(&[frame(0x02, &half), frame(0x00, &half), frame(0x00, b"a")])
            },
            1009,
        ),
        (
            "131,073 empty fragments",
            {
                let mut frames = frame(0x02, b"");
                frames.extend(frame(0x00, b"").repeat(131_073));
                frames
            },
            1009,
        ),
        ("text that is not UTF-8", frame(0x81, b"\xff"), 1007),
        ("half a character at the end", frame(0x81, b"\xe2\x82"), 1007),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("overlong character", frame(0x81, b"\xc0\xaf"), 1007),
        ("bad character over fragments", join(&[frame(0x01, b"\xe2"), frame(0x80, b"\x41")]), 1007),
        ("close with one byte", frame(0x88, b"\x03"), 1002),
        ("close reason that is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
    ];
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        rows.push(("reserved opcode", frame(0x80 | opcode, b""), 1002));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        rows.push(("close code that must not be sent", close(code), 1002));
    }
    rows
}

/// As [`Abuse`], on a connection with compression.
fn compressed_abuses() -> Vec<Abuse> {
    vec![
        ("RSV1 on a continuation", [frame(0x42, b"\0"), frame(0xc0, b"\0")].concat(), 1002),
        ("corrupt DEFLATE", frame(0xc2, b"\xff\xff\xff\xff\xff\xff"), 1007),
        ("text that is not UTF-8 when inflated", frame(0xc1, &deflated(b"\xff\xfe")), 1007),
        ("bomb of 64 MiB", frame(0xc2, &deflated(&vec![0; 64 << 20])), 1009),
        (
            "bomb in 1 B fragments",
            {
                let bomb = deflated(&vec![0; 8 << 20]);
                let mut frames = frame(0x42, &bomb[..1]);
                bomb[1..].iter().for_each(|byte| frames.extend(frame(0x00, &[*byte])));
                frames
            },
            1009,
        ),
    ]
}

/// Compresses as permessage-deflate does.
pub(crate) fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    // A vector with room cannot fail.
    let _ = compress.compress_vec(payload, &mut out, FlushCompress::Sync);
    out.truncate(out.len().saturating_sub(4));
    out
}

/// The memory that one connection may add, in KiB: the read limit, one read, the write buffer, two
/// windows, and what the allocator keeps.
const ONE_CONNECTION: i64 = 1024 + 65 + 64 + 512 + 2048;

pub(crate) fn run(report: &mut Report, targets: &mut [Target]) {
    for target in targets {
        let name = target.name.clone();
        report.row(
            "protocol abuses",
            &name,
            "the close code of RFC 6455 §7.4; ends at once",
            || check(target, "", &abuses()),
        );
        let bound = format!("1002, 1007, 1009; at most {ONE_CONNECTION} KiB more memory");
        report.row("compression abuses and bombs", &name, &bound, || {
            let abuses = compressed_abuses();
            // With what the process needs once.
            check(target, DEFLATE, abuses.get(..1).unwrap_or_default())?;
            let before = target.reset_peak()?;
            let found = check(target, DEFLATE, &abuses)?;
            let more = target.peak()? - before;
            let measured = format!("{}; {more} KiB more", found.measured);
            Ok(Finding::new(measured, found.held && more <= ONE_CONNECTION))
        });
        half_messages(report, target);
    }
}

fn check(target: &Target, offer: &str, abuses: &[Abuse]) -> Result<Finding> {
    let mut wrong = Vec::new();
    for (what, bytes, code) in abuses {
        let mut stream = wire::open_with(target.address, offer)?;
        // The server may end before it has read all.
        let _ = stream.write_all(bytes);
        let end = wire::end(&mut stream)?;
        if end != End::Close(*code) {
            wrong.push(format!("{what}: {end:?} instead of {code}"));
        }
        if wire::gone(&mut stream, Duration::from_secs(2)).is_err() {
            wrong.push(format!("{what}: still open"));
        }
    }
    let (panics, first) = target.panics()?;
    if panics > 0 {
        wrong.push(format!("{panics} panics: {first}"));
    }
    Ok(match wrong.is_empty() {
        true => Finding::new(format!("{} of {}", abuses.len(), abuses.len()), true),
        false => Finding::new(wrong.join("; "), false),
    })
}

/// Connections that announce long messages, and send half of them.
fn half_messages(report: &mut Report, target: &mut Target) {
    const CONNECTIONS: i64 = 32;
    let name = target.name.clone();
    report.row("32 messages of 1 MiB, of which the head arrives", &name, "64 KiB for each", || {
        let before = target.reset_peak()?;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = wire::open(target.address)?;
            stream.write_all(&[&b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0"[..], &[0; 100]].concat())?;
            streams.push(stream);
        }
        target.stats()?;
        let each = (target.peak()? - before) / CONNECTIONS;
        Ok(Finding::new(format!("{each} KiB for each"), each <= 64))
    });
    report.row("32 messages of 1 MiB, of which half arrives", &name, "1.2 MiB for each", || {
        let before = target.reset_peak()?;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = wire::open(target.address)?;
            stream.write_all(b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0")?;
            stream.write_all(&vec![0; 512 * 1024])?;
            streams.push(stream);
        }
        target.stats()?;
        let each = (target.peak()? - before) / CONNECTIONS;
        Ok(Finding::new(format!("{each} KiB for each"), each <= 1228))
    });
}

/// Starts a server with each adapter.
pub(crate) fn targets(adapters: &[Adapter], more: &[&str]) -> Result<Vec<Target>> {
    adapters.iter().map(|adapter| Target::start(*adapter, more)).collect()
}
