//! How does an application observe pings, pongs and close frames?
//!
//! A hook runs while no lock is held, so it may use the connection. It runs before the input
//! after its frame is handled.

use std::sync::Arc;

use bytes::Bytes;

use crate::CloseError;
use crate::conn::Conn;
use crate::conn::driver::cold_state::{AfterHook, Hook, Hooks};

impl Conn {
    /// Calls `hook` for every ping that arrives, with its payload. The ping is answered if the
    /// hook returns `true`.
    ///
    /// The hook runs in the task that reads: it has to be quick. It gets the connection as an
    /// argument. It should not own another handle, because that keeps the connection open. A later
    /// hook replaces this one.
    ///
    /// A hook cannot wait. It sends with [`try_write`](Self::try_write), [`pong`](Self::pong) and
    /// [`Frames::try_write`](crate::conn::Frames::try_write), which also sends pings and close
    /// frames.
    ///
    /// ```
    /// # let (conn, _peer) = ws_core::pair();
    /// // Answers no pings.
    /// conn.on_ping(|_, _| false);
    /// ```
    pub fn on_ping(&self, hook: impl Fn(&Self, &Bytes) -> bool + Send + Sync + 'static) {
        let hook = self.hook(move |conn, payload: &Bytes| {
            if hook(conn, payload) { AfterHook::Pong(payload.clone()) } else { AfterHook::Continue }
        });
        self.change_hooks(|hooks| hooks.ping.replace(hook));
    }

    /// Calls `hook` for every pong that arrives, with its payload: for the answers to
    /// [`ping`](Self::ping), and for unsolicited pongs. The conditions of
    /// [`on_ping`](Self::on_ping) apply.
    pub fn on_pong(&self, hook: impl Fn(&Self, &Bytes) + Send + Sync + 'static) {
        let hook = self.hook(move |conn, payload| {
            hook(conn, payload);
            AfterHook::Continue
        });
        self.change_hooks(|hooks| hooks.pong.replace(hook));
    }

    /// Calls `hook` when the peer's close frame has arrived, before a read returns it. If the hook
    /// returns `true`, the connection answers with the same code and reason, as it does without a
    /// hook. The conditions of [`on_ping`](Self::on_ping) apply. To observe every end, also one
    /// without a close frame, wait for [`closed`](Self::closed).
    ///
    /// If the hook returns `false`, it holds the answer: reading returns the close frame, and the
    /// connection can still write what the peer has to receive. [`close`](Self::close) then
    /// answers, with a code and a reason of its own. After
    /// [`close_timeout`](crate::Config::close_timeout), or when the last handle is dropped, the
    /// connection answers by itself. The result counts only if the peer closes first, and not for
    /// a [`ByteStream`](crate::ByteStream), which holds the answer anyway.
    ///
    /// ```
    /// use ws_core::StatusCode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ws_core::Error> {
    /// let (here, peer) = ws_core::pair();
    /// // Holds the answer until the result is written.
    /// here.on_close(|_, close| !close.code.is_normal());
    /// let closing = tokio::spawn(async move {
    ///     peer.close(StatusCode::NORMAL_CLOSURE, "no more questions").await.unwrap();
    ///     peer.close_info().unwrap().received
    /// });
    /// assert!(here.read().await.unwrap_err().is_normal_close());
    /// here.write("42").await?;
    /// here.close(StatusCode::NORMAL_CLOSURE, "answered").await?;
    /// assert_eq!(closing.await.unwrap().unwrap().reason, "answered");
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_close(&self, hook: impl Fn(&Self, &CloseError) -> bool + Send + Sync + 'static) {
        let hook =
            self.hook(
                move |conn, close| {
                    if hook(conn, close) { AfterHook::AnswerClose } else { AfterHook::Continue }
                },
            );
        self.change_hooks(|hooks| hooks.close.replace(hook));
    }

    /// A hook that is passed this connection, without keeping it open. The operation that runs
    /// the hook holds the connection.
    fn hook<T>(&self, hook: impl Fn(&Self, &T) -> AfterHook + Send + Sync + 'static) -> Hook<T> {
        let conn = self.downgrade();
        Arc::new(move |argument| {
            conn.upgrade().map_or(AfterHook::Continue, |conn| hook(&conn, argument))
        })
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
