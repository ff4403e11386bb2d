//! How does an application observe pings, pongs and close frames?
//!
//! A hook runs while no lock is held, so it may use the connection. It runs before the input
//! after its frame is handled.

use std::sync::Arc;

use bytes::Bytes;

use crate::CloseError;
use crate::conn::Conn;
use crate::conn::driver::cold_state::{Hook, Hooks};

impl Conn {
    /// Calls `hook` for every ping that arrives, with its payload. The ping is answered if the
    /// hook returns `true`.
    ///
    /// The hook runs in the task that reads: it has to be quick. It gets the connection as an
    /// argument. It should not own another handle, because that keeps the connection open. A later
    /// hook replaces this one.
    ///
    /// ```
    /// # let (conn, _peer) = ws_core::pair();
    /// // Answers no pings.
    /// conn.on_ping(|_, _| false);
    /// ```
    pub fn on_ping(&self, hook: impl Fn(&Self, &Bytes) -> bool + Send + Sync + 'static) {
        let hook =
            self.hook(move |conn, payload: &Bytes| hook(conn, payload).then(|| payload.clone()));
        self.change_hooks(|hooks| hooks.ping.replace(hook));
    }

    /// Calls `hook` for every pong that arrives, with its payload: for the answers to
    /// [`ping`](Self::ping), and for unsolicited pongs. The conditions of
    /// [`on_ping`](Self::on_ping) apply.
    pub fn on_pong(&self, hook: impl Fn(&Self, &Bytes) + Send + Sync + 'static) {
        let hook = self.hook(move |conn, payload| {
            hook(conn, payload);
            None
        });
        self.change_hooks(|hooks| hooks.pong.replace(hook));
    }

    /// Calls `hook` when the peer's close frame has arrived and been answered, before a read
    /// returns it. The conditions of [`on_ping`](Self::on_ping) apply. To observe every end, also
    /// one without a close frame, wait for [`closed`](Self::closed).
    pub fn on_close(&self, hook: impl Fn(&Self, &CloseError) + Send + Sync + 'static) {
        let hook = self.hook(move |conn, close| {
            hook(conn, close);
            None
        });
        self.change_hooks(|hooks| hooks.close.replace(hook));
    }

    /// A hook that is passed this connection, without keeping it open. The operation that runs
    /// the hook holds the connection.
    fn hook<T>(
        &self,
        hook: impl Fn(&Self, &T) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Hook<T> {
        let conn = self.downgrade();
        Arc::new(move |argument| hook(&conn.upgrade()?, argument))
    }

    /// Changes the hooks. The old ones are dropped without the lock: they are the
    /// application's.
    fn change_hooks<T>(&self, change: impl FnOnce(&mut Hooks) -> T) {
        let before = change(&mut self.connection().reader.lock().cold_mut().hooks);
        drop(before);
    }

    /// Removes all hooks.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn no_hooks(&self) {
        self.change_hooks(std::mem::take);
    }
}
