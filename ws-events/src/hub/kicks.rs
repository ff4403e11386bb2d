//! When has the application closed a socket for good, so that its session is not recovered?

use crate::StatusCode;
use crate::delivery::recipient::Recipient as _;
use crate::delivery::send_queue::CloseCommand;
use crate::delivery::socket_state::SocketState;
use crate::hub::socket::SocketShared;
use crate::link::Link;
use crate::namespace_link::{CloseSocket, means_later};
use crate::recovery::fate::SessionFate;

impl SocketShared {
    /// Commands its task to close it. Returns `false` if it is closing already. With a code that is for
    /// good, its session ends at once: its client may come back before the connection has ended.
    pub(crate) fn close(&self, command: CloseCommand) -> bool {
        let is_kick = !means_later(command.code);
        if is_kick
            && let Some(own) = self.recovery()
            && self.queue.state() != SocketState::Disconnected
        {
            *own.fate.lock() = SessionFate::Kicked;
            self.end_session();
        }
        self.queue.close(command)
    }

    /// Whether the application has closed it for good, by itself or with its other namespaces.
    pub(super) fn is_kicked(&self) -> bool {
        let by_itself = self.recovery().is_some_and(|it| *it.fate.lock() == SessionFate::Kicked);
        let is_kick = |link: &Link| link.namespace().is_some_and(|it| it.group().is_kicked());
        by_itself || self.with_link(is_kick).unwrap_or_default()
    }
}

impl CloseSocket for SocketShared {
    fn close_socket(&self, code: StatusCode, reason: &str) {
        self.close(CloseCommand::new(code, reason));
    }
}
