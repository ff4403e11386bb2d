//! Which implementations are compared, how is each started, and which scenarios can it run?

use clap::ValueEnum as _;
use load::scenario::{Carrier, Deflate, Scenario, Shape};
use serde::Serialize;

/// A library, or a way of using it, that is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Implementation {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) package: &'static str,
    pub(crate) program: &'static str,
    /// The `--variant` of the program: which way of using the library.
    pub(crate) variant: &'static str,
    /// The scenarios that it can run.
    can: &'static [Skill],
}

/// The role of an implementation in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    /// Bytes without a protocol.
    Limit,
    /// This library.
    Ours,
    /// Another library, with a plain loop: read a message, write it.
    Peer,
    /// Another library, with batching written by hand.
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skill {
    Echo,
    Compress,
    Takeover,
    Fanout,
    Workers,
    Burst,
    Client,
    /// Opening handshakes over TCP.
    Upgrade,
    /// Echo, idle connections and opening handshakes over TLS.
    Tls,
    /// Echo over HTTP/2 and TLS.
    Http2,
}

use Kind::{Batch, Limit, Ours, Peer};
use Skill::{Burst, Client, Compress, Echo, Fanout, Http2, Takeover, Tls, Upgrade, Workers};

/// The skills of a server with all of a library.
const ALL: &[Skill] = &[Echo, Compress, Takeover, Fanout, Workers];

/// Those of our adapters.
const ADAPTER: &[Skill] = &[Echo, Compress, Takeover, Fanout, Workers, Upgrade, Tls, Http2];

/// All implementations, in the order of reports.
pub(crate) const IMPLEMENTATIONS: &[Implementation] = &[
    row("raw-epoll", Limit, "raw-epoll", "", &[Echo, Fanout]),
    row("raw-tokio", Limit, "raw-tokio", "", &[Echo, Fanout, Workers, Tls]),
    row("raw-tokio-lazy", Limit, "raw-tokio", "lazy", &[Echo]),
    row(
        "ours",
        Ours,
        "ours",
        "",
        &[Echo, Compress, Takeover, Fanout, Workers, Burst, Client, Upgrade, Tls],
    ),
    row("ours+hyper", Ours, "ours", "hyper", ADAPTER),
    row("ours+axum", Ours, "ours-frameworks", "axum", ADAPTER),
    row("ours+warp", Ours, "ours-frameworks", "warp", ADAPTER),
    row("ours+reconnect", Ours, "ours-reconnect", "", &[Client]),
    row("ours+stream", Ours, "ours-stream", "", &[Echo]),
    row("ours+no-request", Ours, "ours", "no-request", &[Echo]),
    Implementation { package: "metered", ..row("ours+metrics", Ours, "metered", "", &[Echo]) },
    row("ours+level6", Ours, "ours", "level6", &[Compress, Takeover]),
    row("fastwebsockets", Peer, "fastwebsockets", "", &[Echo, Workers, Client]),
    row("fastwebsockets+hyper", Peer, "fastwebsockets", "hyper", &[Echo, Upgrade]),
    row("yawc", Peer, "yawc", "", &[Echo, Compress, Takeover, Fanout, Workers, Client]),
    row("sockudo-ws", Peer, "sockudo-ws", "", ALL),
    row("soketto", Peer, "soketto", "", &[Echo, Compress]),
    row("wtx", Peer, "wtx", "", &[Echo]),
    row("axum", Peer, "axum", "", &[Echo, Fanout, Workers, Upgrade, Tls, Http2]),
    row("warp", Peer, "warp", "", &[Echo, Fanout, Workers, Upgrade]),
    row("actix-ws", Peer, "actix-ws", "", &[Echo, Workers]),
    row(
        "tokio-websockets",
        Peer,
        "tokio-websockets",
        "",
        &[Echo, Fanout, Workers, Client, Upgrade],
    ),
    row("tungstenite", Peer, "tungstenite", "", &[Echo, Fanout, Workers, Client, Upgrade, Tls]),
    row("tungstenite+rb16k", Peer, "tungstenite", "rb16k", &[Echo, Fanout]),
    row("tungstenite+rb16k+batch", Batch, "tungstenite", "rb16k+batch", &[Echo]),
    row("yawc+batch", Batch, "yawc", "batch", &[Echo]),
    row("sockudo-ws+batch", Batch, "sockudo-ws", "batch", &[Echo]),
];

const fn row(
    name: &'static str,
    kind: Kind,
    program: &'static str,
    variant: &'static str,
    can: &'static [Skill],
) -> Implementation {
    let package = match kind {
        Limit => "limits",
        Ours => "ours",
        Peer | Batch => "peers",
    };
    Implementation { name, kind, package, program, variant, can }
}

impl Implementation {
    /// The implementation of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        IMPLEMENTATIONS.iter().find(|implementation| implementation.name == name)
    }

    /// The program that serves in a scenario. `ours` has a separate program for scenarios that send
    /// many messages for one, so that the echo has no code for them.
    pub(crate) fn program_for(&self, scenario: &Scenario) -> String {
        match (self.kind, scenario.shape, scenario.carrier) {
            (Ours, _, Carrier::Tls | Carrier::Http2) => "ours-tls".to_owned(),
            (_, _, Carrier::Tls | Carrier::Http2) => format!("{}-tls", self.program),
            (Ours, Shape::Fanout | Shape::Burst, Carrier::Tcp) => "ours-many".to_owned(),
            (_, _, Carrier::Tcp) => self.program.to_owned(),
        }
    }

    /// The feature of `peers` with its program over TLS, if there is one.
    pub(crate) fn tls_feature(&self) -> Option<String> {
        let has = self.package == "peers" && self.can.contains(&Tls);
        has.then(|| format!("{}-tls", self.program))
    }

    /// Whether it echoes frames with their masks.
    pub(crate) fn is_raw(&self) -> bool {
        self.kind == Limit
    }

    /// The implementations that show the cost of an adapter: `ours` bare and through hyper, `ours`
    /// through the adapter, and the WebSockets of the framework itself.
    pub(crate) fn by_adapter(adapter: &str) -> Option<Vec<&'static Self>> {
        let ours = Self::find(&format!("ours+{adapter}"))?;
        let theirs = Self::find(adapter).or_else(|| Self::find("fastwebsockets+hyper"))?;
        let beside = ["ours", "ours+hyper"].into_iter().filter_map(Self::find);
        Some(beside.filter(|it| *it != ours).chain([ours, theirs]).collect())
    }

    /// Whether it runs without compression.
    pub(crate) fn echoes(&self) -> bool {
        self.can.contains(&Echo)
    }

    /// Whether it can run a scenario.
    pub(crate) fn takes(&self, scenario: &Scenario) -> bool {
        let skill = match (scenario.shape, scenario.deflate) {
            (Shape::Client, _) => Client,
            (Shape::Fanout, _) => Fanout,
            (Shape::Burst, _) => Burst,
            (Shape::Upgrades, _) if scenario.carrier == Carrier::Tcp => Upgrade,
            _ if scenario.carrier == Carrier::Tls => Tls,
            _ if scenario.carrier == Carrier::Http2 => Http2,
            (_, Deflate::NoTakeover) => Compress,
            (_, Deflate::Takeover) => Takeover,
            (Shape::Echo | Shape::Rate(_) | Shape::Idle | Shape::Upgrades, Deflate::Off) => Echo,
        };
        // These variants differ in memory only.
        let beside =
            ["lazy", "no-request"].contains(&self.variant) && scenario.shape != Shape::Idle;
        // With one message in flight, there are no batches.
        let alone = scenario.in_flight == 1 && !matches!(scenario.shape, Shape::Rate(_));
        self.can.contains(&skill) && !beside && !(self.kind == Batch && alone)
    }
}

/// An implementation in a scenario, with the number of threads and writers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) implementation: &'static Implementation,
    pub(crate) workers: usize,
    pub(crate) writers: usize,
    /// Further WebSockets that take no answers.
    pub(crate) stalled: usize,
}

impl Entry {
    /// The implementation with one thread and one writer.
    pub(crate) fn of(implementation: &'static Implementation) -> Self {
        let name = implementation.name.to_owned();
        Self { name, implementation, workers: 1, writers: 1, stalled: 0 }
    }

    /// The entries of these implementations in a scenario.
    pub(crate) fn all(
        implementations: &[&'static Implementation],
        scenario: &Scenario,
    ) -> Vec<Self> {
        let able = implementations.iter().filter(|implementation| implementation.takes(scenario));
        if scenario.shape == Shape::Burst {
            let with = |of: &'static Implementation, writers: usize| {
                let name = format!("{}, {writers} writing", of.name);
                Self { name, workers: 2, writers, ..Self::of(of) }
            };
            return able.flat_map(|it| [1, 4].map(|writers| with(it, writers))).collect();
        }
        if scenario.name == "http2-stalled" {
            let beside = |it: &'static Implementation| Self {
                name: format!("{}, one stalled", it.name),
                stalled: 1,
                ..Self::of(it)
            };
            return able.flat_map(|it| [Self::of(it), beside(it)]).collect();
        }
        if scenario.name.starts_with("workers-") {
            let able = able.filter(|it| it.can.contains(&Workers));
            let two = |it: &'static Implementation| Self {
                name: format!("{}, 2 threads", it.name),
                workers: 2,
                ..Self::of(it)
            };
            return able.flat_map(|it| [Self::of(it), two(it)]).collect();
        }
        able.map(|it| Self::of(it)).collect()
    }

    /// The arguments of the program.
    pub(crate) fn arguments(&self, scenario: &Scenario) -> Vec<String> {
        let mode = match scenario.shape {
            Shape::Fanout => "fanout",
            Shape::Burst => "burst",
            Shape::Echo | Shape::Rate(_) | Shape::Idle | Shape::Client | Shape::Upgrades => "echo",
        };
        let deflate = scenario.deflate.to_possible_value();
        let deflate = deflate.as_ref().map_or("off", |it| it.get_name());
        let Self { implementation, workers, writers, .. } = self;
        vec![
            format!("--mode={mode}"),
            format!("--deflate={deflate}"),
            format!("--variant={}", implementation.variant),
            format!("--workers={workers}"),
            format!("--writers={writers}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for implementation in IMPLEMENTATIONS {
            assert_eq!(Implementation::find(implementation.name), Some(implementation));
        }
    }

    #[test]
    fn an_adapter_is_compared_with_its_framework() {
        let names = |adapter: &str| {
            let of = |it: &Implementation| it.name;
            Implementation::by_adapter(adapter)
                .map(|all| all.into_iter().map(of).collect::<Vec<_>>())
        };
        assert_eq!(names("axum").unwrap(), ["ours", "ours+hyper", "ours+axum", "axum"]);
        assert_eq!(names("warp").unwrap(), ["ours", "ours+hyper", "ours+warp", "warp"]);
        assert_eq!(names("hyper").unwrap(), ["ours", "ours+hyper", "fastwebsockets+hyper"]);
        assert_eq!(names("soketto"), None);
    }

    #[test]
    fn two_threads_are_compared_with_one() {
        let ours = Implementation::find("ours").unwrap();
        let names = |scenario| -> Vec<_> {
            let entries = Entry::all(&[ours], Scenario::find(scenario).unwrap());
            entries.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names("workers-128"), ["ours", "ours, 2 threads"]);
        assert_eq!(names("writers"), ["ours, 1 writing", "ours, 4 writing"]);
        assert_eq!(names("echo-16"), ["ours"]);
    }
}
