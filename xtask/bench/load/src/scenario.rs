//! Which load scenarios does the benchmark have?

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

/// A load, by its name for `--scenario`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// The name.
    pub name: &'static str,
    /// The description in reports.
    pub title: &'static str,
    /// Who sends, and when.
    pub shape: Shape,
    /// The number of connections.
    pub conns: usize,
    /// The number of messages in flight on each connection.
    pub in_flight: usize,
    /// The size of a message in bytes.
    pub size: usize,
    /// The content of messages.
    pub content: Content,
    /// The compression of messages.
    pub deflate: Deflate,
    /// What carries the messages.
    pub carrier: Carrier,
}

/// Who sends, and when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Shape {
    /// Each reply is followed by the next message.
    Echo,
    /// Messages are sent at a fixed rate per second on each connection.
    Rate(u32),
    /// One connection sends, and all others receive.
    Fanout,
    /// The server sends each message back many times.
    Burst,
    /// Connections are open and idle.
    Idle,
    /// A client is measured against a reference server.
    Client,
    /// Connections are opened, and ended after the opening handshake.
    Upgrades,
}

/// What carries the messages of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Carrier {
    /// A TCP connection for each WebSocket.
    Tcp,
    /// A TLS connection for each WebSocket.
    Tls,
    /// One TLS connection with HTTP/2 for all WebSockets.
    Http2,
}

/// The content of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Content {
    /// Random bytes.
    Binary,
    /// ASCII text.
    Ascii,
    /// Text in which most characters have two or three bytes.
    Utf8,
    /// JSON records.
    Json,
}

/// The compression of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Deflate {
    /// No compression.
    Off,
    /// Without context takeover.
    NoTakeover,
    /// With context takeover.
    Takeover,
}

impl Deflate {
    /// The `Sec-WebSocket-Extensions` that offer or accept it.
    pub const fn extensions(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Takeover => Some("permessage-deflate"),
            Self::NoTakeover => {
                Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
            }
        }
    }
}

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// The scenario of this name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        Self::find(name).with_context(|| {
            let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            format!("there is no scenario `{name}`; there are {}", names.join(", "))
        })
    }

    const fn load(self, shape: Shape, conns: usize, in_flight: usize) -> Self {
        Self { shape, conns, in_flight, ..self }
    }

    const fn of(self, size: usize, content: Content) -> Self {
        Self { size, content, ..self }
    }

    const fn deflate(self, deflate: Deflate) -> Self {
        Self { deflate, ..self }
    }

    const fn over(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }
}

/// An echo of 128 B on 64 connections.
const fn echo(name: &'static str, title: &'static str) -> Scenario {
    let (shape, content, deflate, carrier) = (Echo, Binary, Deflate::Off, Carrier::Tcp);
    Scenario { name, title, shape, conns: 64, in_flight: 1, size: 128, content, deflate, carrier }
}

use Carrier::{Http2, Tls};
use Content::{Ascii, Binary, Json, Utf8};
use Deflate::{NoTakeover, Takeover};
use Shape::{Burst, Client, Echo, Fanout, Idle, Rate, Upgrades};

const KIB: usize = 1024;

/// All scenarios, in the order of reports.
pub const SCENARIOS: &[Scenario] = &[
    echo("echo-16", "echo of 16 B, 64 connections").of(16, Binary),
    echo("echo-128", "echo of 128 B, 64 connections"),
    echo("echo-1k-text", "echo of 1 KiB of text, 64 connections").of(KIB, Ascii),
    echo("echo-1k-bin", "echo of 1 KiB, 64 connections").of(KIB, Binary),
    echo("pipeline", "echo of 24 B, 100 connections, 16 in flight")
        .load(Echo, 100, 16)
        .of(24, Binary),
    echo("rate", "echo of 22 B, 100 connections offering 10,000 a second each")
        .load(Rate(10_000), 100, 1)
        .of(22, Binary),
    echo("echo-16k-bin", "echo of 16 KiB, 64 connections").of(16 * KIB, Binary),
    echo("echo-16k-ascii", "echo of 16 KiB of ASCII text, 64 connections").of(16 * KIB, Ascii),
    echo("echo-16k-utf8", "echo of 16 KiB of multi-byte text, 64 connections").of(16 * KIB, Utf8),
    echo("echo-1m-4", "echo of 1 MiB, 4 connections").load(Echo, 4, 1).of(KIB * KIB, Binary),
    echo("echo-1m-64", "echo of 1 MiB, 64 connections").of(KIB * KIB, Binary),
    echo("latency", "echo of 128 B, one connection").load(Echo, 1, 1),
    echo("deflate-1k", "echo of 1 KiB of compressed JSON, 64 connections")
        .of(KIB, Json)
        .deflate(NoTakeover),
    echo("deflate-64k", "echo of 64 KiB of compressed JSON, 16 connections")
        .load(Echo, 16, 1)
        .of(64 * KIB, Json)
        .deflate(NoTakeover),
    echo("takeover", "echo of 100 similar JSON messages of 1 KiB, with takeover")
        .load(Echo, 16, 1)
        .of(KIB, Json)
        .deflate(Takeover),
    echo("idle", "memory of 10,000 idle connections").load(Idle, 10_000, 1).of(16 * KIB, Binary),
    echo("idle-deflate", "memory of 10,000 idle connections that compress")
        .load(Idle, 10_000, 1)
        .of(16 * KIB, Json)
        .deflate(NoTakeover),
    echo("fanout-w1", "128 B from one to 1,000 others, one at a time").load(Fanout, 1000, 1),
    echo("fanout-w8", "128 B from one to 1,000 others, 8 under way").load(Fanout, 1000, 8),
    echo("workers-128", "echo of 128 B, 64 connections, two threads"),
    echo("workers-pipeline", "echo of 24 B, 100 connections, 16 in flight, two threads")
        .load(Echo, 100, 16)
        .of(24, Binary),
    echo("writers", "128 B, 4,000 at a time on one connection, two threads").load(Burst, 1, 1),
    echo("client-16", "a client's 16 B, 64 connections").load(Client, 64, 1).of(16, Binary),
    echo("client-128", "a client's 128 B, 64 connections").load(Client, 64, 1),
    echo("client-1k-text", "a client's 1 KiB of text, 64 connections")
        .load(Client, 64, 1)
        .of(KIB, Ascii),
    echo("client-1k-bin", "a client's 1 KiB, 64 connections").load(Client, 64, 1).of(KIB, Binary),
    echo("client-1000", "a client's 128 B, 1,000 connections").load(Client, 1000, 1),
    echo("tls-128", "echo of 128 B over TLS, 64 connections").over(Tls),
    echo("tls-16k", "echo of 16 KiB over TLS, 64 connections").of(16 * KIB, Binary).over(Tls),
    echo("tls-pipeline", "echo of 24 B over TLS, 100 connections, 16 in flight")
        .load(Echo, 100, 16)
        .of(24, Binary)
        .over(Tls),
    echo("tls-idle", "memory of 2,000 idle connections over TLS")
        .load(Idle, 2000, 1)
        .of(16 * KIB, Binary)
        .over(Tls),
    echo("http2-128", "echo of 128 B, 64 WebSockets on one HTTP/2 connection").over(Http2),
    echo("http2-16k", "echo of 16 KiB, 64 WebSockets on one HTTP/2 connection")
        .of(16 * KIB, Binary)
        .over(Http2),
    echo("http2-pipeline", "echo of 24 B, 64 WebSockets on one HTTP/2 connection, 16 in flight")
        .load(Echo, 64, 16)
        .of(24, Binary)
        .over(Http2),
    echo("http2-stalled", "echo of 16 KiB on 64 of 65 WebSockets, one of which takes no answers")
        .of(16 * KIB, Binary)
        .over(Http2),
    echo("upgrades", "opening handshakes over HTTP/1.1").load(Upgrades, 16, 1),
    echo("upgrades-tls", "opening handshakes over HTTP/1.1 and TLS")
        .load(Upgrades, 16, 1)
        .over(Tls),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for scenario in SCENARIOS {
            assert_eq!(Scenario::find(scenario.name), Some(scenario));
        }
    }
}
