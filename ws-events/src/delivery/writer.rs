//! How does the task of a socket write its queued messages and its close frame?
//!
//! It writes in batches, and takes the next one when the transport has taken the last. So messages
//! for a slow peer stay in the send queue, where they are counted and bounded.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use ws_core::{Error, StatusCode};

use crate::delivery::batch_writer::BatchSource;
use crate::delivery::recipient::Recipient;
use crate::delivery::send_queue::{CloseCommand, NextAction};
use crate::sync::{Batch, Link, close_timeout, write_batch};

/// After this many batches that the transport took at once, other tasks run. A batch has at most
/// 64 KiB and one message.
const MAX_BATCHES_IN_A_ROW: u8 = 4;

/// Writes until the connection accepts no more, or until a close command comes, which it
/// carries out and returns.
pub(crate) async fn run_writer<R: Recipient>(
    recipient: &R,
    link: &Link,
) -> Option<Box<CloseCommand>> {
    let mut in_a_row = 0;
    loop {
        if in_a_row == MAX_BATCHES_IN_A_ROW {
            in_a_row = 0;
            yield_now().await;
        }
        let action = poll_fn(|cx| {
            let action = recipient.queue().poll_next_action(cx);
            in_a_row = if action.is_ready() { in_a_row + 1 } else { 0 };
            action
        });
        let command = match action.await {
            NextAction::Close(command) => command,
            action => match write(recipient, link, action == NextAction::Flush).await {
                Ok(None) => continue,
                Ok(Some(command)) => command,
                Err(_) => {
                    Box::pin(await_read_error(recipient, link)).await;
                    return None;
                }
            },
        };
        // Boxed: an idle socket holds no memory for it.
        Box::pin(close(recipient, link, &command)).await;
        return Some(command);
    }
}

/// Writing has failed. Usually the reader finds the reason, after the messages that the peer sent
/// before the failure. A transport that reports no error is aborted after `close_timeout`.
async fn await_read_error<R: Recipient>(recipient: &R, link: &Link) {
    recipient.stop_sending();
    timeout(close_timeout(link), pending::<()>()).await;
    link.close_now();
}

/// Writes a batch, unless the transport is `stalled`, and waits until the transport has taken
/// all, or for a close command.
async fn write<R: Recipient>(
    recipient: &R,
    link: &Link,
    stalled: bool,
) -> Result<Option<Box<CloseCommand>>, Error> {
    let mut stall = StallGuard { recipient, stalled };
    if !stalled {
        // It waits if the application has filled the connection by writing to it directly.
        let mut writing = pin!(write_queued(recipient, link));
        let written = poll_fn(|cx| stall.race_close(writing.as_mut().poll(cx), cx));
        match written.await? {
            RaceResult::Closed(command) => return Ok(Some(command)),
            RaceResult::Done(batch) if batch.flushed => return Ok(None),
            RaceResult::Done(_) => {}
        }
    }
    let mut flushing = pin!(link.flush());
    let flushed = poll_fn(|cx| stall.race_close(flushing.as_mut().poll(cx), cx));
    match flushed.await? {
        RaceResult::Closed(command) => Ok(Some(command)),
        RaceResult::Done(()) => Ok(None),
    }
}

/// What came first: the result of a write, or a close command.
enum RaceResult<T> {
    Done(T),
    Closed(Box<CloseCommand>),
}

/// Marks the queue as stalled while the transport has yet to take a part of a batch.
struct StallGuard<'a, R: Recipient> {
    recipient: &'a R,
    stalled: bool,
}

impl<R: Recipient> StallGuard<'_, R> {
    /// The result of a write, or, while it is pending, a close command.
    fn race_close<T>(
        &mut self,
        written: Poll<Result<T, Error>>,
        cx: &Context<'_>,
    ) -> Poll<Result<RaceResult<T>, Error>> {
        if let Poll::Ready(written) = written {
            return Poll::Ready(written.map(RaceResult::Done));
        }
        if !self.stalled {
            self.stalled = true;
            self.recipient.queue().set_stalled(true);
        }
        self.recipient.queue().poll_close(cx).map(|command| Ok(RaceResult::Closed(command)))
    }
}

impl<R: Recipient> Drop for StallGuard<'_, R> {
    fn drop(&mut self) {
        if self.stalled {
            self.recipient.queue().set_stalled(false);
        }
    }
}

/// Writes what is queued, except for a slow consumer, and closes: all of it within
/// `close_timeout`.
async fn close<R: Recipient>(recipient: &R, link: &Link, command: &CloseCommand) {
    let limit = close_timeout(link);
    let closing = async {
        if command.slow_consumer.is_none() {
            // Half of the time is for what the connection itself has to send, and the last
            // quarter for the peer's answer.
            let _ = timeout(limit / 4, write_rest(recipient, link)).await;
        }
        recipient.stop_sending();
        if let Err(Error::SendError(_)) = link.close(command.code, &command.reason).await {
            // `Socket::close` has checked its arguments: this is the code of
            // `Overflow::Disconnect`.
            let _ = link.close(StatusCode::TRY_AGAIN_LATER, "").await;
        }
    };
    if timeout(limit, closing).await.is_none() {
        link.close_now();
    }
}

/// Writes all that is queued.
pub(crate) async fn write_rest<R: Recipient>(recipient: &R, link: &Link) -> Result<(), Error> {
    while write_queued(recipient, link).await?.messages > 0 {
        link.flush().await?;
        yield_now().await;
    }
    Ok(())
}

/// Writes as many queued messages as the connection has room for.
async fn write_queued<R: Recipient>(recipient: &R, link: &Link) -> Result<Batch, Error> {
    let mut source = BatchSource::new(recipient);
    write_batch(link, |room| source.next(|recipient| recipient.queue().take_batch(room))).await
}

/// Awaits a future for at most `limit`. Outside of a tokio runtime there is no clock, and the
/// timeout never expires, as in a connection.
pub(crate) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let future = pin!(future);
    match Handle::try_current() {
        Ok(_) => tokio::time::timeout(limit, future).await.ok(),
        Err(_) => Some(future.await),
    }
}
