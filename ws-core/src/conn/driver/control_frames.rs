//! What becomes of a control frame that has arrived?

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::{Got, Reader, Step};
use crate::proto::CloseFrame;

impl Reader {
    /// A ping has arrived. A hook may have to be asked first whether to answer it.
    #[inline]
    pub(crate) fn ping(&mut self, shared: &Shared, payload: Bytes) -> Option<Step> {
        if let Some(call) = self.hook_ping(&payload) {
            return Some(self.due_hook(call));
        }
        shared.queue_pong(payload);
        self.owes_pong = true;
        self.has_control().then_some(Step::Got(Got::Frame))
    }

    /// A pong has arrived.
    pub(crate) fn pong(&mut self, payload: Bytes) -> Option<Step> {
        if self.pings.answered(&payload) {
            self.waiters.wake();
        }
        if let Some(call) = self.hook_pong(&payload) {
            return Some(self.due_hook(call));
        }
        self.has_control().then_some(Step::Got(Got::Frame))
    }

    /// A close frame has arrived.
    pub(crate) fn close(&mut self, shared: &Shared, frame: CloseFrame) {
        self.hook_close(frame.as_error());
        if self.half_closes && !self.closing && !shared.closed.load(Relaxed) {
            self.rare_mut().unanswered = Some(frame);
            self.waiters.wake();
        } else {
            shared.peer_closed(self, frame);
        }
    }
}
