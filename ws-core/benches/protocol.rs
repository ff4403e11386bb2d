//! What does each step of the protocol cost? `cargo bench -p ws-core`.
//!
//! Each step is measured on its own, to see which one a change affects. `cargo xtask bench`
//! measures the cost of a whole message.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ws_core::deflate::{Deflater, Inflater, Params};
use ws_core::frame::{Header, Mask, OpCode, mask};
use ws_core::proto::{Inbound, Mode, Outbound};
use ws_core::utf8::Utf8;
use ws_core::{Compression, Config, Limits, Message, PreparedMessage, Role};

const KEY: Mask = Mask::new([1, 2, 3, 4]);
const SIZES: [usize; 4] = [24, 128, 1024, 16 * 1024];

/// A client's frame.
fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = Header::new(true, opcode, payload.len() as u64);
    let mut bytes = Header { mask: Some(KEY), ..header }.encode().as_slice().to_vec();
    let body = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(payload) = bytes.get_mut(body..) {
        mask(payload, KEY);
    }
    bytes
}

/// Typical JSON of a service.
fn json(len: usize) -> Vec<u8> {
    let mut text = String::new();
    for id in 0.. {
        if text.len() >= len {
            break;
        }
        text +=
            &format!(r#"{{"id":{id},"user":"user-{}","value":{}}},"#, id * 7 % 31, id * 13 % 997);
    }
    text.truncate(len);
    text.into_bytes()
}

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        let mut payload = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |bench| {
            bench.iter(|| mask(black_box(&mut payload), KEY))
        });
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for size in [24, 1024, 128 * 1024] {
        let header = Header { mask: Some(KEY), ..Header::new(true, OpCode::TEXT, size) };
        let bytes = header.encode();
        group.bench_function(format!("encode {size}"), |bench| {
            bench.iter(|| black_box(&header).encode())
        });
        group.bench_function(format!("decode {size}"), |bench| {
            bench.iter(|| Header::decode(black_box(bytes.as_slice())));
        });
    }
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, character) in [("ascii", "a"), ("two bytes", "ö"), ("three bytes", "語")] {
        let text = character.repeat(16 * 1024 / character.len());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| Utf8::new().push(black_box(text.as_bytes())));
        });
    }
}

fn inbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inbound");
    for size in SIZES {
        for (name, opcode) in [("binary", OpCode::BINARY), ("text", OpCode::TEXT)] {
            let bytes = frame(opcode, &vec![b'a'; size]);
            let mut inbound = Inbound::new(Role::Server, Config::new().limits(Limits::new()), None);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(format!("{name} {size}"), |bench| {
                bench.iter_batched_ref(
                    || bytes.clone(),
                    |bytes| inbound.receive(bytes, Mode::Whole),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

/// Drops the queued bytes, like a transport that takes them.
fn written(outbound: &mut Outbound) {
    outbound.advance(outbound.buffered());
}

fn outbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbound");
    for role in [Role::Server, Role::Client] {
        for size in SIZES {
            let message = Message::binary(vec![7; size]);
            let mut outbound = Outbound::new(role, &Config::new(), None);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(format!("{role:?} {size}"), |bench| {
                bench.iter(|| {
                    outbound.message(message.clone());
                    written(&mut outbound);
                });
            });
        }
    }
}

fn prepared(criterion: &mut Criterion) {
    let config = Config::new().compression(Compression::no_context_takeover());
    let text = Message::text_from_bytes(Bytes::from(json(1024))).unwrap_or_else(|_| "".into());
    let news = PreparedMessage::new(&text);
    let mut outbound = Outbound::new(Role::Server, &config, Some(Params::default()));
    let mut group = criterion.benchmark_group("compressed 1 KiB to one more");
    group.bench_function("written", |bench| {
        bench.iter(|| {
            outbound.message(text.clone());
            written(&mut outbound);
        });
    });
    group.bench_function("prepared", |bench| {
        bench.iter(|| {
            outbound.prepared(&news);
            written(&mut outbound);
        });
    });
}

fn deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    for size in [1024, 64 * 1024] {
        let plain = json(size);
        group.throughput(Throughput::Bytes(size as u64));
        for level in [1, 2, 6] {
            let mut deflater = Deflater::new(15, false, level);
            group.bench_function(format!("{size} level {level}"), |bench| {
                bench.iter_with_large_drop(|| {
                    let mut out = Vec::new();
                    deflater.compress(black_box(&plain), &mut out).map(|()| out)
                });
            });
        }
        let mut packed = Vec::new();
        let packing = Deflater::new(15, false, 2).compress(&plain, &mut packed);
        assert!(packing.is_ok(), "{packing:?}");
        let mut inflater = Inflater::new(15, false);
        group.bench_function(format!("{size} inflate"), |bench| {
            bench.iter_with_large_drop(|| {
                let mut out = Vec::new();
                let inflated = inflater.inflate(black_box(&packed), &mut out, usize::MAX);
                let finished = inflater.finish(&mut out, usize::MAX);
                (inflated.is_ok() && finished.is_ok()).then_some(out)
            });
        });
    }
}

criterion_group!(steps, masks, headers, text, inbound, outbound, prepared, deflate);
criterion_main!(steps);
