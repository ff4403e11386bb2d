//! How does the task of a `ReconnectingConn` dial, wait, and send the queue?
//!
//! There is one task for each [`ReconnectingConn`](super::ReconnectingConn). It performs the
//! actions of the [`Lifecycle`](super::lifecycle::Lifecycle), and reports their results as events.
//! It reads no messages. While it waits in `Conn::closed`, the connection answers pings, and reads
//! ahead within its bound.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use super::failure::ConnectionFailure;
use super::lifecycle::{Action, LifecycleEvent};
use super::settings::Reconnect;
use super::shared::Shared;
use crate::first_ready::first_ready;
use crate::runtime::{self, Instant};
use crate::{CloseInfo, CloseInitiator, Conn, Error};

/// Performs actions until the life has ended.
pub(super) async fn run(task: TaskGuard, settings: Reconnect, first: Action<Conn>) {
    let driver = Driver { shared: &task.0, settings: &settings };
    let mut action = first;
    loop {
        action = match action {
            Action::Dial { attempt } => driver.until_closing(driver.dial(attempt)).await,
            Action::Serve { attempt, conn } => {
                driver.until_closing(driver.serve(attempt, conn)).await
            }
            Action::Wait(wait) => {
                let elapsed = async {
                    runtime::wait_to_retry(wait).await;
                    LifecycleEvent::WaitElapsed
                };
                driver.until_closing(elapsed).await
            }
            Action::Close => driver.shared.apply(driver.close().await),
            Action::Stop | Action::Nothing => return,
        };
    }
}

/// Ends the life when the task is dropped: a hook has panicked, or the runtime was dropped,
/// perhaps before the first poll.
pub(super) struct TaskGuard(pub(super) Arc<Shared>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.apply(LifecycleEvent::TaskEnded);
    }
}

/// Whether the hook that has failed also ended the connection: it has closed it, or could not decode
/// a message.
fn is_end_by_hook(failure: &ConnectionFailure, ending: &CloseInfo) -> bool {
    matches!(failure, ConnectionFailure::Hook(_))
        && ending.by == CloseInitiator::Local
        && matches!(ending.error, Error::Closed(_) | Error::Codec(_))
}

struct Driver<'a> {
    shared: &'a Shared,
    settings: &'a Reconnect,
}

impl Driver<'_> {
    /// Runs an action, and applies its event. Cancels it when the state is `Closing`.
    async fn until_closing(
        &self,
        action: impl Future<Output = LifecycleEvent<Conn>>,
    ) -> Action<Conn> {
        let closing = async {
            self.shared.state.wait(|inner| inner.life.closing()).await;
            None
        };
        match first_ready(closing, async { Some(action.await) }).await {
            Some(event) => self.shared.apply(event),
            None => Action::Close,
        }
    }

    async fn dial(&self, attempt: u32) -> LifecycleEvent<Conn> {
        match self.connect(attempt).await {
            Ok(conn) => LifecycleEvent::Established(conn),
            Err(failure) => self.failed(failure, attempt),
        }
    }

    /// Dials, and runs the hooks.
    async fn connect(&self, attempt: u32) -> Result<Conn, ConnectionFailure> {
        let settings = self.settings;
        let dial = (settings.on_attempt)(settings.dial.clone(), attempt).await?;
        let conn = (settings.dial_by)(dial).await?;
        let begun = async {
            if let Some(session) = settings.session {
                session.begin(self.shared, &conn).await?;
            }
            (settings.on_connect)(conn.clone()).await
        };
        match begun.await {
            Ok(()) => Ok(conn),
            // If the server closed the connection, its close frame says more than the failure.
            Err(failure) => Err(match conn.close_info() {
                Some(ending) if !is_end_by_hook(&failure, &ending) => {
                    ConnectionFailure::Ended(ending)
                }
                _ => failure,
            }),
        }
    }

    /// Uses a connection until it is lost.
    async fn serve(&self, attempt: u32, conn: Conn) -> LifecycleEvent<Conn> {
        let began = Instant::now();
        let work = first_ready(self.send(&conn), self.confirm(&conn));
        let ending = first_ready(conn.closed(), async { match work.await {} }).await;
        // A connection that was shorter than the wait before it counts as a failed attempt.
        let lasted = began.elapsed() >= self.settings.backoff.max_wait(attempt - 1);
        self.failed(ConnectionFailure::Ended(ending), if lasted { 0 } else { attempt })
    }

    /// `failed` is the number of attempts in a row that have failed.
    fn failed(&self, failure: ConnectionFailure, failed: u32) -> LifecycleEvent<Conn> {
        match self.settings.retry_wait(&failure, failed) {
            Some(wait) => {
                runtime::log_retry(&failure, wait);
                LifecycleEvent::Retry { failure, failed, wait }
            }
            None => LifecycleEvent::GiveUp(failure),
        }
    }

    /// Sends what the connection takes without waiting, and closes it. After the last handle
    /// was dropped, dropping the connection closes it with 1001.
    async fn close(&self) -> LifecycleEvent<Conn> {
        let closing = self.shared.state.look(|inner| inner.life.closing());
        let Some((Some(conn), close)) = closing else { return LifecycleEvent::Closed(Ok(())) };
        self.shared.state.change(|inner| {
            while let Some((number, message)) = inner.queue.next()
                && conn.try_write(message).is_ok()
            {
                inner.queue.mark_sent(number);
            }
        });
        LifecycleEvent::Closed(match close {
            Some((code, reason)) => conn.close(code, &reason).await,
            None => Ok(()),
        })
    }

    /// Writes the send queue to the connection.
    ///
    /// If `write` fails or is dropped, the message was not sent, and stays in the queue.
    async fn send(&self, conn: &Conn) -> Infallible {
        loop {
            let (number, message) = self.shared.state.wait(|inner| inner.queue.next()).await;
            if conn.write(message).await.is_err() {
                // The connection has ended, and `serve` returns.
                return pending().await;
            }
            self.shared.state.change(|inner| inner.queue.mark_sent(number));
        }
    }

    /// Removes messages that the peer has received, as its pongs confirm.
    ///
    /// A ping overtakes messages that wait to be written, so they are flushed first.
    async fn confirm(&self, conn: &Conn) -> Infallible {
        if !self.shared.state.look(|inner| inner.queue.needs_confirmation()) {
            return pending().await;
        }
        loop {
            let before = self.shared.state.wait(|inner| inner.queue.unconfirmed()).await;
            if conn.flush().await.is_err() || !runtime::has_answered(conn).await {
                return pending().await;
            }
            self.shared.state.change(|inner| inner.queue.confirm_before(before));
        }
    }
}
