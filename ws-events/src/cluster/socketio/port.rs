//! How is the request of a server of Node.js answered?

use std::sync::Arc;

use super::engine::SocketIoEngine;
use super::write;
use crate::broker::PublishError;
use crate::cluster::envelope::{AnswerPart, ListedSocket, RemoteAck};

/// Sends an answer. A server expects one list of sockets, or a number of sockets and their
/// acknowledgements, or one reply.
pub(super) struct AdapterPort {
    pub(super) engine: Arc<SocketIoEngine>,
    pub(super) channel: String,
    /// The id of the request.
    pub(super) id: String,
    /// The sockets so far, if the request asks for a list.
    pub(super) sockets: Option<Vec<ListedSocket>>,
    pub(super) clients: u64,
}

impl super::super::responder::AnswerPort for AdapterPort {
    fn send(&mut self, part: &AnswerPart) -> Result<(), PublishError> {
        let answer = match part {
            AnswerPart::Sockets(more) => {
                self.sockets.iter_mut().for_each(|sockets| sockets.extend_from_slice(more));
                return Ok(());
            }
            AnswerPart::Expected(ids) => {
                self.clients += ids.len() as u64;
                return Ok(());
            }
            AnswerPart::AllExpected => write::client_count(&self.id, self.clients),
            AnswerPart::Ack(_, RemoteAck::Data(json, attachments)) => {
                write::acknowledgement(&self.id, json, attachments)
            }
            AnswerPart::Reply(json) => write::reply(&self.id, json),
            AnswerPart::Done => match &self.sockets {
                Some(sockets) => write::sockets_answer(&self.id, sockets),
                None => return Ok(()),
            },
            // The server waits until its timeout.
            AnswerPart::Ack(_, RemoteAck::Failed(..))
            | AnswerPart::Count(_)
            | AnswerPart::Presence(_)
            | AnswerPart::Session(_)
            | AnswerPart::Busy => return Ok(()),
        };
        self.engine.publish(&self.channel, answer, None)
    }
}
