//! Which loads are there?

use serde::Serialize;

/// A load, by the name that `--scenario` knows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// How it goes.
    pub shape: Shape,
    /// How many connections there are.
    pub conns: usize,
    /// How many messages of a connection are under way at a time.
    pub in_flight: usize,
    /// How many bytes a message has.
    pub size: usize,
    /// What they are.
    pub content: Content,
    /// Whether they are compressed.
    pub deflate: Deflate,
}

/// How a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Shape {
    /// A message is sent when an answer has come.
    Echo,
    /// Messages are sent by the clock, so many a second on each connection.
    Rate(u32),
    /// A message is sent to one, and arrives at all others.
    Fanout,
    /// A message is sent, and arrives many times.
    Burst,
    /// Connections are opened and left alone.
    Idle,
    /// Our part is played by a client, and the server is always the same.
    Client,
}

/// What the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Content {
    /// Any bytes.
    Binary,
    /// Text of letters.
    Ascii,
    /// Text of which most characters have two or three bytes.
    Utf8,
    /// Records, as programs send them to each other.
    Json,
}

/// Which compression the generator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Deflate {
    /// None.
    Off,
    /// Every message by itself.
    NoTakeover,
    /// Messages may refer to earlier ones.
    Takeover,
}

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
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

/// All of them, in the order in which they are reported.
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
