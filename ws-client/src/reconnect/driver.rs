//! Who dials, and who moves messages from the outbox to the connection?
//!
//! One task for each [`ReconnectingConn`](super::ReconnectingConn): somebody has to dial when
//! nobody calls. It reads no message: while it waits for the end of a connection, that
//! answers pings, and holds one message at most.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::time::{Instant, sleep};

use super::settings::Reconnect;
use super::shared::{Leaving, Shared};
use super::{Loss, ReconnectError, State, Verdict};
use crate::{CloseInfo, Conn};

/// The longest that a server is left alone because it asks for it.
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);

/// Keeps connected until there is a reason to end.
pub(super) async fn run(ends: EndsWithTask, settings: Reconnect) {
    let shared = &*ends.0;
    let driver = Driver { shared, settings: &settings };
    select! {
        biased;
        leaving = shared.wait(|inner| inner.leaving.clone()) => leave(shared, leaving).await,
        given_up = driver.keep_connected() => shared.end(given_up),
    }
}

/// Whoever waits must not wait for a task that is gone: a hook may panic, and a runtime may
/// end, even before the task has run at all.
pub(super) struct EndsWithTask(pub(super) Arc<Shared>);

impl Drop for EndsWithTask {
    fn drop(&mut self) {
        self.0.end(ReconnectError::Stopped);
    }
}

/// Ends the connection that there is.
async fn leave(shared: &Shared, leaving: Leaving) {
    if let Some(conn) = shared.look(|inner| inner.current.clone()) {
        shared.change(|inner| {
            while let Some((number, message)) = inner.queue.next()
                && conn.try_write(message).is_ok()
            {
                inner.queue.sent(number);
            }
        });
        if let Leaving::Close(code, reason) = leaving {
            let closed = conn.close(code, &reason).await;
            shared.change(|inner| inner.closed = closed);
        }
    }
    shared.end(ReconnectError::Closed);
}

struct Driver<'a> {
    shared: &'a Shared,
    settings: &'a Reconnect,
}

impl Driver<'_> {
    /// Dials again and again, until that is given up.
    async fn keep_connected(&self) -> ReconnectError {
        // Counted since the last connection that lasted. The first is told from the beginning.
        let mut attempt = 1_u32;
        loop {
            let (loss, lasted) = match self.attempt(attempt).await {
                Ok(conn) => {
                    let began = Instant::now();
                    let ending = self.serve(&conn).await;
                    let enough = self.settings.backoff.longest(attempt - 1);
                    (Loss::Ended(ending), began.elapsed() >= enough)
                }
                Err(loss) => (loss, false),
            };
            let failed = if lasted { 0 } else { attempt };
            let too_many = self.settings.max_attempts.is_some_and(|max| failed >= max);
            if too_many || self.settings.judge(&loss) == Verdict::GiveUp {
                return ReconnectError::GaveUp(loss);
            }
            let rest = loss.retry_after().unwrap_or_default().min(LONGEST_REST);
            let wait = self.settings.backoff.wait(failed) + rest;
            self.shared.tell(State::Waiting { loss, wait });
            sleep(wait).await;
            attempt = failed.saturating_add(1);
            self.shared.tell(State::Connecting { attempt });
        }
    }

    /// Makes a connection, ready to be used.
    async fn attempt(&self, attempt: u32) -> Result<Conn, Loss> {
        let dial = self.settings.prepare(attempt).await?;
        let conn = self.settings.dial(dial).await?;
        match self.settings.greet(&conn).await {
            Ok(()) => Ok(conn),
            // What the server said by then is more than that the hook failed.
            Err(loss) => Err(conn.close_info().map_or(loss, Loss::Ended)),
        }
    }

    /// Lets a connection be used until it ends.
    async fn serve(&self, conn: &Conn) -> CloseInfo {
        self.shared.begin(conn);
        let ending = select! {
            ending = conn.closed() => ending,
            never = self.send(conn) => match never {},
            never = self.confirm(conn) => match never {},
        };
        self.shared.lose();
        ending
    }

    /// Gives the connection what is in the outbox.
    ///
    /// When `write` is dropped, or fails, the message was not queued: it stays in the outbox.
    async fn send(&self, conn: &Conn) -> Infallible {
        loop {
            let (number, message) = self.shared.wait(|inner| inner.queue.next()).await;
            if conn.write(message).await.is_err() {
                // It has ended, which `serve` is told.
                return pending().await;
            }
            self.shared.change(|inner| inner.queue.sent(number));
        }
    }

    /// Asks the peer how far it has read, and forgets what it has.
    ///
    /// A ping overtakes what waits to be written, so that has to be flushed first.
    async fn confirm(&self, conn: &Conn) -> Infallible {
        if !self.shared.look(|inner| inner.queue.is_at_least_once()) {
            return pending().await;
        }
        loop {
            let before = self.shared.wait(|inner| inner.queue.unconfirmed()).await;
            if conn.flush().await.is_err() || conn.ping().await.is_err() {
                return pending().await;
            }
            self.shared.change(|inner| inner.queue.forget_before(before));
        }
    }
}
