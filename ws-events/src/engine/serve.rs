//! What does the task of a session do: read its WebSocket, and check its deadlines?

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use ws_core::{Conn, Error, Message, StatusCode};

use super::end::EngineEnd;
use super::packet::EnginePacket;
use super::session::EngineSession;
use super::state::{Due, PING, Rest, Transport, Wakers, after};

/// After this many packets other tasks run.
const MAX_TURN: u8 = 64;

/// Why the WebSocket of a session is not read any more.
enum ReadEnd {
    /// It has ended.
    Ended,
    /// The client has sent a packet that is not valid.
    Refused,
    /// The client has closed the session.
    Closed,
}

impl EngineSession {
    /// Reads the WebSocket of the session, sends its pings and checks their answers, until the
    /// session has ended and the client knows it. For adapters, which run it beside the application.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing. Without it, the session does not read and has no
    /// deadlines.
    pub async fn drive(&self) {
        tokio::select! {
            () = self.read() => {}
            () = self.keep_deadlines() => {}
        }
        // The next GET of the client fetches it. Boxed, as all that is rare: a session holds no memory
        // for it before.
        let _ = Box::pin(timeout(self.config().ping_timeout, self.client_told())).await;
    }

    /// Reads the WebSocket, as soon as there is one, until the session has ended and its last
    /// message is in the inbox.
    async fn read(&self) {
        let mut turn = 0;
        loop {
            // With `while let`, the future would have a second place for the result.
            let Some((conn, has_room)) = self.websocket().await else { break };
            if !has_room {
                Box::pin(self.wait_for_room(&conn)).await;
                continue;
            }
            if let Err(end) = self.handle_read(conn.read().await) {
                Box::pin(self.end_reading(&conn, end)).await;
                break;
            }
            turn += 1;
            if turn == MAX_TURN {
                turn = 0;
                yield_now().await;
            }
        }
        self.finish_reading();
    }

    /// Sends pings, and ends the session if the client does not answer. Does not return: `read`
    /// does.
    async fn keep_deadlines(&self) {
        let mut sleep = pin!(sleep_until(self.deadline()));
        loop {
            sleep.as_mut().await;
            // Boxed, so that a session that waits does not hold what a ping takes.
            Box::pin(self.on_deadline()).await;
            // A pong sets a deadline that may be earlier, but not earlier than this.
            let next_ping = after(Instant::now(), self.config().ping_interval);
            sleep.as_mut().reset(self.deadline().min(next_ping));
            if self.is_closed() {
                // Then `read` ends.
                return pending().await;
            }
        }
    }

    /// Ends the session, and closes its WebSocket, unless that has ended.
    async fn end_reading(&self, conn: &Conn, end: ReadEnd) {
        let (end, code) = match end {
            ReadEnd::Ended => return self.end(EngineEnd::of_conn(conn).await, None),
            ReadEnd::Refused => (EngineEnd::parse_error(), StatusCode::UNSUPPORTED_DATA),
            ReadEnd::Closed => (EngineEnd::client_closed(), StatusCode::NORMAL_CLOSURE),
        };
        let _ = self.end_open(end, None);
        // The connection records how it ended.
        let _ = conn.close(code, "").await;
    }

    /// Handles a message of the WebSocket.
    fn handle_read(&self, read: Result<Message, Error>) -> Result<(), ReadEnd> {
        let message = read.map_err(|_| ReadEnd::Ended)?;
        let packet = EnginePacket::from_message(message).map_err(|_| ReadEnd::Refused)?;
        let mut wakers = Wakers::new();
        {
            let now = Instant::now();
            let mut state = self.0.state.lock();
            let is_pong = matches!(packet, EnginePacket::Pong(_));
            state.note_packet(&self.0.config, is_pong, now);
            match packet {
                EnginePacket::Message(message) => {
                    state.inbox.push(message);
                    if !state.inbox.has_room() {
                        state.note_full(now);
                    }
                    wakers.extend(state.take_reader());
                }
                EnginePacket::Pong(_) | EnginePacket::Noop => {}
                EnginePacket::Close => return Err(ReadEnd::Closed),
                EnginePacket::Open(_) | EnginePacket::Ping(_) | EnginePacket::Upgrade => {
                    return Err(ReadEnd::Refused);
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Waits for the WebSocket. Returns whether the inbox has room for its next message. `None` when
    /// it is read to its end, and when the session has ended.
    async fn websocket(&self) -> Option<(Conn, bool)> {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            match &state.transport {
                Transport::WebSocket(conn) => {
                    return Poll::Ready(Some((conn.clone(), state.inbox.has_room())));
                }
                Transport::Closed(closed) => {
                    let Rest::Unread(conn) = &closed.rest else { return Poll::Ready(None) };
                    return Poll::Ready(Some((conn.clone(), state.inbox.has_room())));
                }
                Transport::Polling | Transport::Upgrading => {}
            }
            state.driver = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits for room in the inbox. Meanwhile the session ends with its WebSocket.
    async fn wait_for_room(&self, conn: &Conn) {
        let room = poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if state.inbox.has_room() || state.has_last_message() {
                return Poll::Ready(());
            }
            state.driver = Some(cx.waker().clone());
            Poll::Pending
        });
        if self.is_closed() {
            return room.await;
        }
        tokio::select! {
            () = room => {}
            _ = conn.closed() => self.end_with_unread(EngineEnd::of_conn(conn).await),
        }
    }

    /// How many bytes the WebSocket has received.
    fn bytes_in(&self) -> u64 {
        let conn = match &self.0.state.lock().transport {
            Transport::WebSocket(conn) => conn.clone(),
            Transport::Polling | Transport::Upgrading | Transport::Closed(_) => return 0,
        };
        conn.stats().bytes_in
    }

    /// When the next ping, or its answer, is due.
    fn deadline(&self) -> Instant {
        self.0.state.lock().heartbeat.deadline()
    }

    /// Carries out the deadline, if it has passed.
    async fn on_deadline(&self) {
        let mut wakers = Wakers::new();
        let (config, now, bytes) = (&self.0.config, Instant::now(), self.bytes_in());
        let due = self.0.state.lock().on_deadline(config, now, bytes, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        match due {
            Due::Nothing => {}
            Due::Timeout => self.end(EngineEnd::ping_timeout(), None),
            Due::Ping(conn) => {
                let mut write = pin!(conn.write(PING));
                // A packet of the client extends the deadline meanwhile.
                loop {
                    let until = self.deadline();
                    let written = timeout_at(until, write.as_mut()).await;
                    if written.is_ok() || self.deadline() <= until {
                        break;
                    }
                }
            }
        }
    }
}
