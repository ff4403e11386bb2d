//! How are subjects and other names of channels written in the commands of Redis?

use std::fmt::Debug;
use std::hash::Hash;
#[cfg(feature = "socketio")]
use std::sync::Arc;

use redis::Pipeline;
use ws_events::broker::Subject;

/// What a server has answered when it was connected, to a name with scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerState {
    /// Another one for each start of the server.
    pub(crate) run_id: String,
    /// The digests of the scripts.
    pub(crate) scripts: Vec<String>,
}

/// What a session subscribes to and publishes on.
pub(crate) trait RedisName: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// Scripts that each server gets when it is connected.
    const SCRIPTS: &'static [&'static str] = &[];

    /// The channel, or the pattern.
    fn channel(&self) -> &str;

    /// Adds the one command that publishes: `command` is `PUBLISH` or `SPUBLISH`.
    fn publish(
        &self,
        pipeline: &mut Pipeline,
        command: &str,
        server: &ServerState,
        envelope: &[u8],
    ) {
        let _ = server;
        pipeline.cmd(command).arg(self.channel()).arg(envelope);
    }

    /// Whether it is a pattern.
    fn is_pattern(&self) -> bool {
        false
    }

    /// Who wants to know the number that Redis answers: how many subscribers have got a message.
    fn receipt(&self) -> Option<u64> {
        None
    }
}

impl RedisName for Subject {
    fn channel(&self) -> &str {
        self.as_str()
    }
}

/// A channel of another protocol.
#[cfg(feature = "socketio")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RedisChannel {
    Exact(Arc<str>, Option<u64>),
    Pattern(Arc<str>),
}

#[cfg(feature = "socketio")]
impl RedisChannel {
    /// All channels that begin with a text.
    pub(crate) fn starting_with(prefix: &str) -> Self {
        let mut pattern = String::with_capacity(prefix.len() + 1);
        for c in prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        Self::Pattern(pattern.into())
    }
}

#[cfg(feature = "socketio")]
impl RedisName for RedisChannel {
    fn channel(&self) -> &str {
        match self {
            Self::Exact(name, _) | Self::Pattern(name) => name,
        }
    }

    fn is_pattern(&self) -> bool {
        matches!(self, Self::Pattern(_))
    }

    fn receipt(&self) -> Option<u64> {
        match self {
            Self::Exact(_, receipt) => *receipt,
            Self::Pattern(_) => None,
        }
    }
}

#[cfg(all(test, feature = "socketio"))]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_no_wildcard_but_its_last() {
        for (prefix, pattern) in
            [("", "*"), ("socket.io#/#", "socket.io#/#*"), ("a*?[b]\\ü", "a\\*\\?\\[b\\]\\\\ü*")]
        {
            assert_eq!(RedisChannel::starting_with(prefix).channel(), pattern);
        }
    }
}
