//! Who takes part, how is each started, and what can it do?

use load::scenario::{Deflate, Scenario, Shape};
use serde::Serialize;

/// A way of serving messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) package: &'static str,
    pub(crate) program: &'static str,
    /// Which way of using the library, as the program calls it.
    pub(crate) variant: &'static str,
    /// Whether it can do more than echo.
    can: &'static [Skill],
}

/// What a contestant is to the question of who is fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    /// No protocol at all.
    Limit,
    /// This library.
    Ours,
    /// Another library, used in the obvious way.
    Peer,
    /// Another library, with batching written by hand.
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skill {
    Echo,
    Deflate,
    Takeover,
    Fanout,
    Workers,
    Burst,
    Client,
}

use Kind::{Batch, Limit, Ours, Peer};
use Skill::{Burst, Client, Echo, Fanout, Takeover, Workers};

/// All, in the order in which they are listed.
pub(crate) const CONTESTANTS: &[Contestant] = &[
    row("raw-epoll", Limit, "raw-epoll", "", &[Echo, Fanout]),
    row("raw-tokio", Limit, "raw-tokio", "", &[Echo, Fanout, Workers]),
    row("raw-tokio-lazy", Limit, "raw-tokio", "lazy", &[Echo]),
    row(
        "ours",
        Ours,
        "ours",
        "",
        &[Echo, Skill::Deflate, Takeover, Fanout, Workers, Burst, Client],
    ),
    row("ours+hyper", Ours, "ours", "hyper", &[Echo, Skill::Deflate, Takeover, Fanout, Workers]),
    row(
        "ours+axum",
        Ours,
        "ours-frameworks",
        "axum",
        &[Echo, Skill::Deflate, Takeover, Fanout, Workers],
    ),
    row(
        "ours+warp",
        Ours,
        "ours-frameworks",
        "warp",
        &[Echo, Skill::Deflate, Takeover, Fanout, Workers],
    ),
    row("ours+stream", Ours, "ours-stream", "", &[Echo]),
    row("ours+level6", Ours, "ours", "level6", &[Skill::Deflate, Takeover]),
    row("fastwebsockets", Peer, "fastwebsockets", "", &[Echo, Workers, Client]),
    row("fastwebsockets+hyper", Peer, "fastwebsockets", "hyper", &[Echo]),
    row("yawc", Peer, "yawc", "", &[Echo, Skill::Deflate, Takeover, Fanout, Workers, Client]),
    row("sockudo-ws", Peer, "sockudo-ws", "", &[Echo, Skill::Deflate, Takeover, Fanout, Workers]),
    row("soketto", Peer, "soketto", "", &[Echo, Skill::Deflate]),
    row("wtx", Peer, "wtx", "", &[Echo]),
    row("axum", Peer, "axum", "", &[Echo, Fanout, Workers]),
    row("warp", Peer, "warp", "", &[Echo, Fanout, Workers]),
    row("actix-ws", Peer, "actix-ws", "", &[Echo, Workers]),
    row("tokio-websockets", Peer, "tokio-websockets", "", &[Echo, Fanout, Workers, Client]),
    row("tungstenite", Peer, "tungstenite", "", &[Echo, Fanout, Workers, Client]),
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
) -> Contestant {
    let package = match kind {
        Limit => "limits",
        Ours => "ours",
        Peer | Batch => "peers",
    };
    Contestant { name, kind, package, program, variant, can }
}

impl Contestant {
    /// The contestant of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        CONTESTANTS.iter().find(|contestant| contestant.name == name)
    }

    /// The program that serves in a scenario. Of ours, what makes many messages of one is
    /// apart from the echo: a program has the loops that it needs.
    pub(crate) fn program_for(&self, scenario: &Scenario) -> &'static str {
        match (self.kind, scenario.shape) {
            (Ours, Shape::Fanout | Shape::Burst) => "ours-many",
            _ => self.program,
        }
    }

    /// Does it answer with frames that have masks?
    pub(crate) fn is_raw(&self) -> bool {
        self.kind == Limit
    }

    /// Those that show what the way through a framework costs: the bare and the shortest way
    /// of ours, ours by that framework, and the framework's own.
    pub(crate) fn by_adapter(adapter: &str) -> Option<Vec<&'static Self>> {
        let ours = Self::find(&format!("ours+{adapter}"))?;
        let theirs = Self::find(adapter).or_else(|| Self::find("fastwebsockets+hyper"))?;
        let beside = ["ours", "ours+hyper"].into_iter().filter_map(Self::find);
        Some(beside.filter(|it| *it != ours).chain([ours, theirs]).collect())
    }

    /// Can it do without compression?
    pub(crate) fn echoes(&self) -> bool {
        self.can.contains(&Echo)
    }

    /// Can it take this load?
    pub(crate) fn takes(&self, scenario: &Scenario) -> bool {
        let skill = match (scenario.shape, scenario.deflate) {
            (Shape::Client, _) => Client,
            (Shape::Fanout, _) => Fanout,
            (Shape::Burst, _) => Burst,
            (_, Deflate::NoTakeover) => Skill::Deflate,
            (_, Deflate::Takeover) => Takeover,
            (Shape::Echo | Shape::Rate(_) | Shape::Idle, Deflate::Off) => Echo,
        };
        // What holds nothing is the limit of memory, and of nothing else.
        let beside = self.variant == "lazy" && scenario.shape != Shape::Idle;
        // With one message in flight there is no batch.
        let alone = scenario.in_flight == 1 && !matches!(scenario.shape, Shape::Rate(_));
        self.can.contains(&skill) && !beside && !(self.kind == Batch && alone)
    }
}

/// A contestant in a scenario, with what only this scenario asks of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) contestant: &'static Contestant,
    pub(crate) workers: usize,
    pub(crate) writers: usize,
}

impl Entry {
    /// The contestant as it is.
    pub(crate) fn of(contestant: &'static Contestant) -> Self {
        Self { name: contestant.name.to_owned(), contestant, workers: 1, writers: 1 }
    }

    /// The entries of these contestants in a scenario.
    pub(crate) fn all(contestants: &[&'static Contestant], scenario: &Scenario) -> Vec<Self> {
        let able = contestants.iter().filter(|contestant| contestant.takes(scenario));
        if scenario.shape == Shape::Burst {
            let with = |entry: Self, writers: usize| {
                let name = format!("{}, {writers} writing", entry.name);
                Self { name, workers: 2, writers, ..entry }
            };
            return able.flat_map(|it| [1, 4].map(|writers| with(Self::of(it), writers))).collect();
        }
        if scenario.name.starts_with("workers-") {
            let with = |entry: Self, workers: usize| Self {
                name: format!("{}, {workers} threads", entry.name),
                workers,
                ..entry
            };
            let able = able.filter(|it| it.can.contains(&Workers));
            return able.flat_map(|it| [Self::of(it), with(Self::of(it), 2)]).collect();
        }
        able.map(|it| Self::of(it)).collect()
    }

    /// What its program is told.
    pub(crate) fn arguments(&self, scenario: &Scenario) -> Vec<String> {
        let mode = match scenario.shape {
            Shape::Fanout => "fanout",
            Shape::Burst => "burst",
            Shape::Echo | Shape::Rate(_) | Shape::Idle | Shape::Client => "echo",
        };
        let deflate = match scenario.deflate {
            Deflate::Off => "off",
            Deflate::NoTakeover => "no-takeover",
            Deflate::Takeover => "takeover",
        };
        let words = [
            ("--mode", mode.to_owned()),
            ("--deflate", deflate.to_owned()),
            ("--variant", self.contestant.variant.to_owned()),
            ("--workers", self.workers.to_string()),
            ("--writers", self.writers.to_string()),
        ];
        words.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for contestant in CONTESTANTS {
            assert_eq!(Contestant::find(contestant.name), Some(contestant));
        }
    }

    #[test]
    fn an_adapter_is_held_against_its_frameworks_own() {
        let names = |adapter: &str| {
            let of = |it: &Contestant| it.name;
            Contestant::by_adapter(adapter).map(|all| all.into_iter().map(of).collect::<Vec<_>>())
        };
        assert_eq!(names("axum").unwrap(), ["ours", "ours+hyper", "ours+axum", "axum"]);
        assert_eq!(names("warp").unwrap(), ["ours", "ours+hyper", "ours+warp", "warp"]);
        assert_eq!(names("hyper").unwrap(), ["ours", "ours+hyper", "fastwebsockets+hyper"]);
        assert_eq!(names("soketto"), None);
    }

    #[test]
    fn two_threads_are_held_against_one() {
        let ours = Contestant::find("ours").unwrap();
        let names = |scenario| -> Vec<_> {
            let entries = Entry::all(&[ours], Scenario::find(scenario).unwrap());
            entries.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names("workers-128"), ["ours", "ours, 2 threads"]);
        assert_eq!(names("writers"), ["ours, 1 writing", "ours, 4 writing"]);
        assert_eq!(names("echo-16"), ["ours"]);
    }
}
