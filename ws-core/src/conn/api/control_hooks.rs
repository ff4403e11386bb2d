//! What does an application do about control frames, beyond what is done for it?
//!
//! A hook is called when no lock is held, so it may use the connection, and before anything
//! that came behind its frame is looked at.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::conn::Conn;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::{Reader, Step};
use crate::conn::driver::wait_queue::Ticket;
use crate::{CloseError, Error};

type OnPing = dyn Fn(&Conn, &Bytes) -> bool + Send + Sync;
type OnPong = dyn Fn(&Conn, &Bytes) + Send + Sync;
type OnClose = dyn Fn(&Conn, &CloseError) + Send + Sync;

/// The hooks of a connection.
#[derive(Default)]
pub(crate) struct Hooks {
    ping: Option<Arc<OnPing>>,
    pong: Option<Arc<OnPong>>,
    close: Option<Arc<OnClose>>,
}

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.ping.is_none() && self.pong.is_none() && self.close.is_none()
    }
}

/// A hook that is to be called.
pub(crate) enum Call {
    Ping(Arc<OnPing>, Bytes),
    Pong(Arc<OnPong>, Bytes),
    Close(Arc<OnClose>, CloseError),
}

impl Conn {
    /// Calls `hook` for every ping that arrives, with its payload; the ping is answered if
    /// the hook says so.
    ///
    /// Pings are seen by whoever reads, and the hook runs there: it has to be quick. It is
    /// given the connection, and should not hold another handle of it, which would keep the
    /// connection open. A later hook takes the place of this one.
    ///
    /// ```
    /// # let (conn, _peer) = ws_core::pair();
    /// // Never says that it is alive.
    /// conn.on_ping(|_, _| false);
    /// ```
    pub fn on_ping(&self, hook: impl Fn(&Self, &Bytes) -> bool + Send + Sync + 'static) {
        self.hook(|hooks| hooks.ping.replace(Arc::new(hook)));
    }

    /// Calls `hook` for every pong that arrives, asked for or not, with its payload. As with
    /// [`on_ping`](Self::on_ping). What [`ping`](Self::ping) waits for is told there too.
    pub fn on_pong(&self, hook: impl Fn(&Self, &Bytes) + Send + Sync + 'static) {
        self.hook(|hooks| hooks.pong.replace(Arc::new(hook)));
    }

    /// Calls `hook` when the peer's close frame has arrived, before whoever reads is told.
    /// As with [`on_ping`](Self::on_ping). The frame has been answered by then: to be told of
    /// every end, whether there was a close frame or not, wait for
    /// [`closed`](Self::closed).
    pub fn on_close(&self, hook: impl Fn(&Self, &CloseError) + Send + Sync + 'static) {
        self.hook(|hooks| hooks.close.replace(Arc::new(hook)));
    }

    /// Changes the hooks. What is replaced goes without the lock: it is the application's.
    fn hook<T>(&self, change: impl FnOnce(&mut Hooks) -> T) {
        let before = change(&mut self.shared().reader.lock().rare_mut().hooks);
        drop(before);
    }

    /// Calls no hook any more.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn no_hooks(&self) {
        self.hook(std::mem::take);
    }
}

impl Reader {
    /// Leaves a ping to a hook, if there is one.
    pub(crate) fn hook_ping(&self, payload: &Bytes) -> Option<Call> {
        let hook = self.rare.as_ref()?.hooks.ping.as_ref()?;
        Some(Call::Ping(Arc::clone(hook), payload.clone()))
    }

    /// Tells a hook of a pong, if there is one.
    pub(crate) fn hook_pong(&self, payload: &Bytes) -> Option<Call> {
        let hook = self.rare.as_ref()?.hooks.pong.as_ref()?;
        Some(Call::Pong(Arc::clone(hook), payload.clone()))
    }

    /// Tells a hook of a close frame, if there is one.
    pub(crate) fn hook_close(&mut self, close: &CloseError) {
        let Some(rare) = &mut self.rare else { return };
        let call = |hook| Call::Close(Arc::clone(hook), close.clone());
        rare.call = rare.hooks.close.as_ref().map(call);
    }

    /// A hook is to be called before anything else happens.
    pub(crate) fn due_hook(&mut self, call: Call) -> Step {
        self.rare_mut().call = Some(call);
        Step::Called
    }

    /// Comes again, when the hook has been called.
    pub(crate) fn poll_after_hook<T>(
        &mut self,
        ticket: &mut Ticket,
        reads: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<T, Error>> {
        self.waiters.wait(ticket, reads, cx.waker());
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    /// Gives the reader back, and calls the hook that is due.
    #[inline]
    pub(crate) fn give_back(&self, reader: MutexGuard<'_, Reader>) {
        if reader.rare.is_some() {
            self.give_back_with_hooks(reader);
        }
    }

    #[cold]
    fn give_back_with_hooks(&self, mut reader: MutexGuard<'_, Reader>) {
        let call = reader.rare.as_mut().and_then(|rare| rare.call.take());
        reader.tidy_up();
        drop(reader);
        if let (Some(call), Some(shared)) = (call, self.this.upgrade()) {
            call.run(&Conn(shared));
        }
    }
}

impl Call {
    fn run(self, conn: &Conn) {
        match self {
            Self::Ping(hook, payload) => {
                if hook(conn, &payload) {
                    // It may be closed by now.
                    let _ = conn.pong(payload);
                }
            }
            Self::Pong(hook, payload) => hook(conn, &payload),
            Self::Close(hook, close) => hook(conn, &close),
        }
    }
}
