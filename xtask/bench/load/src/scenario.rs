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

    const fn echo(name: &'static str, title: &'static str) -> Self {
        Self {
            name,
            title,
            shape: Shape::Echo,
            conns: 64,
            in_flight: 1,
            size: 128,
            content: Binary,
            deflate: Deflate::Off,
        }
    }

    const fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    const fn conns(mut self, conns: usize) -> Self {
        self.conns = conns;
        self
    }

    const fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight;
        self
    }

    const fn of(mut self, size: usize, content: Content) -> Self {
        self.size = size;
        self.content = content;
        self
    }

    const fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = deflate;
        self
    }
}

use Content::{Ascii, Binary, Json, Utf8};

/// All scenarios, in the order of reports.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::echo("echo-16", "echo of 16 B, 64 connections").of(16, Binary),
    Scenario::echo("echo-128", "echo of 128 B, 64 connections"),
    Scenario::echo("echo-1k-text", "echo of 1 KiB of text, 64 connections").of(1024, Ascii),
    Scenario::echo("echo-1k-bin", "echo of 1 KiB, 64 connections").of(1024, Binary),
    Scenario::echo("pipeline", "echo of 24 B, 100 connections, 16 in flight")
        .conns(100)
        .in_flight(16)
        .of(24, Binary),
    Scenario::echo("rate", "echo of 22 B, 100 connections offering 10,000 a second each")
        .shape(Shape::Rate(10_000))
        .conns(100)
        .of(22, Binary),
    Scenario::echo("echo-16k-bin", "echo of 16 KiB, 64 connections").of(16 * 1024, Binary),
    Scenario::echo("echo-16k-ascii", "echo of 16 KiB of ASCII text, 64 connections")
        .of(16 * 1024, Ascii),
    Scenario::echo("echo-16k-utf8", "echo of 16 KiB of multi-byte text, 64 connections")
        .of(16 * 1024, Utf8),
    Scenario::echo("echo-1m-4", "echo of 1 MiB, 4 connections").conns(4).of(1024 * 1024, Binary),
    Scenario::echo("echo-1m-64", "echo of 1 MiB, 64 connections").of(1024 * 1024, Binary),
    Scenario::echo("latency", "echo of 128 B, one connection").conns(1),
    Scenario::echo("deflate-1k", "echo of 1 KiB of compressed JSON, 64 connections")
        .of(1024, Json)
        .deflate(Deflate::NoTakeover),
    Scenario::echo("deflate-64k", "echo of 64 KiB of compressed JSON, 16 connections")
        .conns(16)
        .of(64 * 1024, Json)
        .deflate(Deflate::NoTakeover),
    Scenario::echo("takeover", "echo of 100 similar JSON messages of 1 KiB, with takeover")
        .conns(16)
        .of(1024, Json)
        .deflate(Deflate::Takeover),
    Scenario::echo("idle", "memory of 10,000 idle connections")
        .shape(Shape::Idle)
        .conns(10_000)
        .of(16 * 1024, Binary),
    Scenario::echo("idle-deflate", "memory of 10,000 idle connections that compress")
        .shape(Shape::Idle)
        .conns(10_000)
        .of(16 * 1024, Json)
        .deflate(Deflate::NoTakeover),
    Scenario::echo("fanout-w1", "128 B from one to 1,000 others, one at a time")
        .shape(Shape::Fanout)
        .conns(1000),
    Scenario::echo("fanout-w8", "128 B from one to 1,000 others, 8 under way")
        .shape(Shape::Fanout)
        .conns(1000)
        .in_flight(8),
    Scenario::echo("workers-128", "echo of 128 B, 64 connections, two threads"),
    Scenario::echo("workers-pipeline", "echo of 24 B, 100 connections, 16 in flight, two threads")
        .conns(100)
        .in_flight(16)
        .of(24, Binary),
    Scenario::echo("writers", "128 B, 4,000 at a time on one connection, two threads")
        .shape(Shape::Burst)
        .conns(1),
    Scenario::echo("client-16", "a client's 16 B, 64 connections")
        .shape(Shape::Client)
        .of(16, Binary),
    Scenario::echo("client-128", "a client's 128 B, 64 connections").shape(Shape::Client),
    Scenario::echo("client-1k-text", "a client's 1 KiB of text, 64 connections")
        .shape(Shape::Client)
        .of(1024, Ascii),
    Scenario::echo("client-1k-bin", "a client's 1 KiB, 64 connections")
        .shape(Shape::Client)
        .of(1024, Binary),
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
