//! When have all servers answered, if a request only knows how many they are?

use std::sync::Arc;

use super::envelope::{AnswerPart, RemoteAck};
use super::gather::GatherEvent;
use super::node::NodeId;

/// Stands for the servers of which nothing is known. Those that answer, or do not, have the numbers
/// from 1.
pub(crate) const UNKNOWN: NodeId = NodeId(0);

/// The most servers that are waited for.
const MAX_SERVERS: u64 = 1024;

/// The most sockets of other servers that are waited for.
const MAX_CLIENTS: u64 = 1024 * 1024;

/// The answers to one request. `send` takes what its sender gets.
#[derive(Debug, Default)]
pub(crate) struct CountedAnswers {
    /// Whether sockets acknowledge, too.
    has_clients: bool,
    /// The servers that got the request, this one included, once that is known.
    expected: Option<u64>,
    answered: u64,
    /// The servers that the sender knows of.
    announced: u64,
    /// The sockets that have to acknowledge, as far as it is known.
    clients: u64,
    /// The sockets that the sender knows of.
    announced_clients: u64,
    acknowledged: u64,
    /// Nothing is waited for any more.
    is_complete: bool,
}

impl CountedAnswers {
    /// The request has not been sent yet: sockets will acknowledge it.
    pub(crate) const fn expect_clients(&mut self) {
        self.has_clients = true;
    }

    /// Redis has passed the request on to so many servers.
    pub(crate) fn received_by(&mut self, servers: u64, send: &mut dyn FnMut(GatherEvent)) {
        let servers = servers.min(MAX_SERVERS);
        self.expected = Some(servers);
        self.announce(servers, send);
        // All sockets are those of the servers.
        send(GatherEvent::Part(UNKNOWN, AnswerPart::AllExpected));
        self.complete(send);
    }

    /// A server has answered: these are the parts of its answer.
    pub(crate) fn answer(&mut self, parts: Vec<AnswerPart>, send: &mut dyn FnMut(GatherEvent)) {
        if self.answered >= self.expected.unwrap_or(MAX_SERVERS) {
            return;
        }
        self.answered += 1;
        self.announce(self.answered, send);
        let server = NodeId(self.answered);
        parts.into_iter().for_each(|part| send(GatherEvent::Part(server, part)));
        send(GatherEvent::Done(server));
        self.complete(send);
    }

    /// This server has got its own request.
    pub(crate) fn own(&mut self, send: &mut dyn FnMut(GatherEvent)) {
        self.answered += 1;
        self.announce(self.answered, send);
        send(GatherEvent::NoNode(NodeId(self.answered)));
        self.complete(send);
    }

    /// A server has so many sockets that acknowledge. Returns `false` if these are too many.
    pub(crate) fn clients(&mut self, more: u64, send: &mut dyn FnMut(GatherEvent)) -> bool {
        let clients = self.clients.saturating_add(more);
        if clients > MAX_CLIENTS {
            return false;
        }
        self.clients = clients;
        self.announce_clients(clients, send);
        self.answer(Vec::new(), send);
        true
    }

    /// A socket has acknowledged.
    pub(crate) fn acknowledgement(&mut self, ack: RemoteAck, send: &mut dyn FnMut(GatherEvent)) {
        if self.is_complete || self.acknowledged >= MAX_CLIENTS {
            return;
        }
        self.acknowledged += 1;
        // It may be faster than the number of the sockets of its server.
        self.announce_clients(self.acknowledged, send);
        let id = client(self.acknowledged);
        send(GatherEvent::Part(UNKNOWN, AnswerPart::Ack(id, ack)));
        self.complete(send);
    }

    fn announce(&mut self, servers: u64, send: &mut dyn FnMut(GatherEvent)) {
        while self.announced < servers {
            self.announced += 1;
            send(GatherEvent::Open(NodeId(self.announced)));
        }
    }

    fn announce_clients(&mut self, clients: u64, send: &mut dyn FnMut(GatherEvent)) {
        if self.announced_clients < clients {
            let ids = (self.announced_clients + 1..=clients).map(client).collect();
            self.announced_clients = clients;
            send(GatherEvent::Part(UNKNOWN, AnswerPart::Expected(ids)));
        }
    }

    /// Ends the waiting for servers of which nothing is known, and for the sockets of all.
    fn complete(&mut self, send: &mut dyn FnMut(GatherEvent)) {
        let Some(expected) = self.expected else { return };
        let has_all = self.answered >= expected && self.acknowledged >= self.clients;
        if (has_all || !self.has_clients) && !self.is_complete {
            self.is_complete = true;
            send(GatherEvent::NoNode(UNKNOWN));
        }
    }
}

/// The id of a socket whose real one is not known.
fn client(number: u64) -> Arc<str> {
    format!("?{number}").into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    enum Arrival {
        WithClients,
        ReceivedBy(u64),
        Own,
        Answer(u64),
        Clients(u64),
        Ack,
    }
    use Arrival::{Ack, Answer, Clients, Own, ReceivedBy, WithClients};

    /// What arrives → what the sender gets, as text.
    #[track_caller]
    fn check(arrivals: &[Arrival], expected: &[&str]) {
        let (mut answers, mut sent) = (CountedAnswers::default(), Vec::new());
        let mut send = |event| {
            sent.push(match event {
                GatherEvent::Open(node) => format!("open {}", node.0),
                GatherEvent::Done(node) => format!("done {}", node.0),
                GatherEvent::NoNode(node) => format!("none {}", node.0),
                GatherEvent::Missing(node) => format!("missing {}", node.0),
                GatherEvent::Part(node, AnswerPart::Count(count)) => {
                    format!("{} count {count}", node.0)
                }
                GatherEvent::Part(_, AnswerPart::AllExpected) => "all".to_owned(),
                GatherEvent::Part(_, AnswerPart::Expected(ids)) => ids.join(" "),
                GatherEvent::Part(_, AnswerPart::Ack(id, _)) => format!("ack {id}"),
                GatherEvent::Part(_, part) => format!("{part:?}"),
            });
        };
        for arrival in arrivals {
            match arrival {
                ReceivedBy(servers) => answers.received_by(*servers, &mut send),
                Answer(count) => answers.answer(vec![AnswerPart::Count(*count)], &mut send),
                WithClients => answers.expect_clients(),
                Own => answers.own(&mut send),
                Clients(count) => _ = answers.clients(*count, &mut send),
                Ack => answers.acknowledgement(RemoteAck::Data(Bytes::new(), vec![]), &mut send),
            }
        }
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_request_is_complete_when_all_servers_that_got_it_have_answered() {
        check(&[ReceivedBy(0)], &["all", "none 0"]);
        check(&[ReceivedBy(1), Own], &["open 1", "all", "none 0", "none 1"]);
        let one = ["open 1", "all", "none 0", "1 count 5", "done 1"];
        check(&[ReceivedBy(1), Answer(5)], &one);
        // An answer is faster than the receipt, and one comes twice.
        let faster = ["open 1", "1 count 5", "done 1", "all", "none 0"];
        check(&[Answer(5), ReceivedBy(1), Answer(5)], &faster);
        check(
            &[ReceivedBy(2), Answer(5)],
            &["open 1", "open 2", "all", "none 0", "1 count 5", "done 1"],
        );
        let most: Vec<_> = (1..=MAX_SERVERS).map(|number| format!("open {number}")).collect();
        let most: Vec<_> = most.iter().map(String::as_str).chain(["all", "none 0"]).collect();
        check(&[ReceivedBy(u64::MAX)], &most);
    }

    #[test]
    fn acknowledgements_are_complete_when_all_sockets_of_all_servers_have_answered() {
        check(
            &[WithClients, ReceivedBy(2), Clients(2), Ack, Clients(0), Ack, Ack],
            &["open 1", "open 2", "all", "?1 ?2", "done 1", "ack ?1", "done 2", "ack ?2", "none 0"],
        );
        // A socket is faster than the number of sockets of its server.
        check(
            &[WithClients, Ack, Clients(2), ReceivedBy(1), Ack],
            &["?1", "ack ?1", "?2", "open 1", "done 1", "all", "ack ?2", "none 0"],
        );
        check(&[Clients(MAX_CLIENTS + 1), Clients(u64::MAX)], &[]);
    }
}
