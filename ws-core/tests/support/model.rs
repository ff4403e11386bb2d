//! Which promises hold for two connections, whatever the network and the applications do?
//!
//! [`check`] takes any bytes as a script. Two connections run over a network that the script
//! divides, delays, stalls and breaks. On each side, one task writes and one reads, and both drop
//! futures at any poll. The clock is paused, so that all deadlines pass in no time. In the end, what
//! was received is compared with what was written. `tests/conn_model.rs` and the fuzz target `conns`
//! run it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};
use ws_core::adapter::write_batch;
use ws_core::handshake::Negotiated;
use ws_core::{
    CloseInfo, CloseInitiator, Compression, Config, Conn, Deadline, Error, Keepalive, Message,
    MessageType, PreparedMessage, Role, StatusCode, TryWriteError,
};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many calls move as few bytes as the script says. Later ones move more, so that no script
/// takes long.
const SLOW_CALLS: usize = 5000;

/// Longer than all deadlines together, apart from the pauses of a script.
const FOREVER: Duration = Duration::from_secs(1800);

/// Runs the script that these bytes are.
///
/// # Panics
///
/// When a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let script = Script::parse(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(script.run());
}

/// What happens, in what order.
#[derive(Debug)]
pub(crate) struct Script {
    compressed: bool,
    network: NetworkSettings,
    sides: [SideScript; 2],
    faults: Vec<NetworkStep>,
    silent_end: bool,
}

#[derive(Clone, Copy, Debug)]
struct NetworkSettings {
    /// The bytes that a direction holds.
    capacity: usize,
    /// The bytes that one call moves.
    step: usize,
    /// How many of 16 calls are pending for no reason.
    pending: u32,
}

/// What the application of one side does.
#[derive(Debug)]
struct SideScript {
    settings: SideSettings,
    writes: Vec<WriteStep>,
    reads: Vec<ReadStep>,
}

#[derive(Clone, Copy, Debug)]
struct SideSettings {
    keepalive: Option<Duration>,
    write_timeout: bool,
    idle_timeout: bool,
    max_age: bool,
    small_buffers: bool,
    fragments: bool,
    /// Whether the reading task goes on to the end.
    reads_to_the_end: bool,
    leaves: Leaves,
}

/// What the writing task does last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Close,
    Drop,
    /// It waits for the end.
    Hold,
}

#[derive(Clone, Copy, Debug)]
enum WriteStep {
    /// A future that is dropped after so many polls; after all of them if there are none.
    Write(usize, Option<usize>),
    Prepared(usize, Option<usize>),
    Batch(usize, Option<usize>),
    Try(usize),
    /// A message in pieces of this length.
    Stream(usize, usize),
    /// A message in pieces that is not finished. Ends the connection.
    Unfinished(usize),
    Flush(Option<usize>),
    Ping(Option<usize>),
    Pong,
    Closed(usize),
    CloseNow,
    Close(u16, Option<usize>),
    Pause(Duration),
}

#[derive(Clone, Copy, Debug)]
enum ReadStep {
    Read(usize),
    /// Reads a message in pieces, and drops it after so many.
    Pieces(usize),
    Ping(usize),
    Closed(usize),
    Close,
    Pause(Duration),
}

#[derive(Clone, Copy, Debug)]
enum NetworkStep {
    Pause(Duration),
    /// The clock jumps while no task runs.
    Jump(Duration),
    Stall(usize),
    Resume,
    /// The end of one direction.
    End(usize),
    Cut,
    Reset,
    Step(usize),
    Capacity(usize),
}

/// ScriptBytes bytes, followed by endless zeros.
struct ScriptBytes<'a>(&'a [u8]);

impl ScriptBytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn bit(&mut self, of: u8) -> bool {
        self.byte() % of == of - 1
    }
}

/// A length of a message: mostly short.
fn len(byte: u8) -> usize {
    match byte {
        0..=199 => byte.into(),
        // Up to 72 KiB.
        200.. => (usize::from(byte) - 199).pow(2) * 23,
    }
}

/// Half of the futures complete.
fn polls(byte: u8) -> Option<usize> {
    (byte < 128).then_some(usize::from(byte) % 40)
}

fn pause(byte: u8) -> Duration {
    match byte {
        0..=99 => Duration::ZERO,
        100..=179 => Duration::from_millis(byte.into()),
        180.. => Duration::from_secs(u64::from(byte) - 179),
    }
}

impl Script {
    fn parse(bytes: &[u8]) -> Self {
        let mut input = ScriptBytes(bytes);
        let compressed = input.bit(2);
        let network = NetworkSettings {
            capacity: 1 + len(input.byte()) * 4,
            step: 1 + len(input.byte()) * 4,
            pending: u32::from(input.byte()) % 14,
        };
        let sides = [(); 2].map(|()| SideScript::settings(&mut input));
        let silent_end = input.bit(4);
        let mut script = Self { compressed, network, sides, faults: Vec::new(), silent_end };
        while !input.0.is_empty() {
            let (who, what, much) = (input.byte(), input.byte(), input.byte());
            match who % 8 {
                side @ (0 | 1 | 4) => {
                    let side = usize::from(side % 2);
                    script.sides[side].writes.push(WriteStep::parse(what, much, who >> 3));
                }
                side @ (2 | 3 | 5) => {
                    let side = usize::from(side == 2);
                    script.sides[side].reads.push(ReadStep::parse(what, much));
                }
                _ => script.faults.push(NetworkStep::parse(what, much)),
            }
        }
        script
    }

    async fn run(self) {
        let network = Arc::new(Mutex::new(Network::new(self.network)));
        let logs: [Shared<Log>; 2] = Default::default();
        let compression = self.compressed.then(Default::default);
        let mut tasks = JoinSet::new();
        let settings = [self.sides[0].settings, self.sides[1].settings];
        let pauses = self.sides.iter().map(SideScript::pauses).sum::<Duration>();
        let clock_jumps = self.faults.iter().any(|step| matches!(step, NetworkStep::Jump(_)));
        for (side, script) in self.sides.into_iter().enumerate() {
            let io = NetworkEnd { network: Arc::clone(&network), side };
            let role = [Role::Client, Role::Server][side];
            let negotiated = Negotiated { compression, ..Default::default() };
            let config = script.settings.config(self.compressed);
            let conn = Conn::from_stream(io, role, negotiated, Bytes::new(), config);
            let writer = Application {
                conn: conn.clone(),
                log: Arc::clone(&logs[side]),
                settings: script.settings,
                side,
                clock_jumps,
            };
            let reader = Application { conn, log: Arc::clone(&logs[side]), ..writer };
            tasks.spawn(writer.write(script.writes));
            tasks.spawn(reader.read(script.reads));
        }
        for step in self.faults {
            take_step(&network, step).await;
        }
        // Without keepalive on both sides, silence may last forever. Nothing that is promised
        // about unread messages ends it either.
        let ends_in_silence = self.silent_end
            && settings.iter().all(|side| side.keepalive.is_some() && side.reads_to_the_end);
        if ends_in_silence {
            take_step(&network, NetworkStep::Stall(0)).await;
            take_step(&network, NetworkStep::Stall(1)).await;
        } else {
            take_step(&network, NetworkStep::Resume).await;
            sleep(Duration::from_secs(300)).await; // tidy: sleep is the subject
            take_step(&network, NetworkStep::Cut).await;
        }
        let all_ended = timeout(FOREVER + pauses, async {
            while let Some(ended) = tasks.join_next().await {
                ended.expect("no task panics");
            }
        });
        let done = logs.each_ref().map(|log| lock(log).doing);
        assert!(all_ended.await.is_ok(), "something hangs: {done:?}");
        let [here, there] = logs.each_ref().map(|log| lock(log).clone());
        compare(&here, &there, settings);
        compare(&there, &here, [settings[1], settings[0]]);
    }
}

impl SideScript {
    fn settings(input: &mut ScriptBytes<'_>) -> Self {
        let mut settings = SideSettings {
            keepalive: input.bit(2).then_some(Duration::from_secs(20)),
            write_timeout: input.bit(4),
            idle_timeout: input.bit(8),
            max_age: input.bit(16),
            small_buffers: input.bit(2),
            fragments: input.bit(4),
            reads_to_the_end: !input.bit(4),
            leaves: [Leaves::Close, Leaves::Hold, Leaves::Drop, Leaves::Close]
                [usize::from(input.byte() % 4)],
        };
        // Behind more unread bytes than are read ahead, only keepalive notices the end of a stream
        // that is not TCP.
        if !settings.reads_to_the_end {
            settings.keepalive = Some(Duration::from_secs(20));
        }
        Self { settings, writes: Vec::new(), reads: Vec::new() }
    }

    /// How long its tasks pause by themselves.
    fn pauses(&self) -> Duration {
        let writes = self.writes.iter().map(|step| match step {
            WriteStep::Pause(time) => *time,
            _ => Duration::ZERO,
        });
        let reads = self.reads.iter().map(|step| match step {
            ReadStep::Pause(time) => *time,
            _ => Duration::ZERO,
        });
        writes.chain(reads).sum()
    }
}

impl SideSettings {
    fn config(self, compressed: bool) -> Config {
        let mut config = Config::new().close_timeout(CLOSE_TIMEOUT);
        if compressed {
            config = config.compression(Compression::context_takeover().threshold(16));
        }
        config = match self.keepalive {
            Some(every) => config.keepalive(Keepalive::every(every).pong_timeout(every)),
            None => config.no_keepalive(),
        };
        if self.write_timeout {
            config = config.write_timeout(Duration::from_secs(7));
        }
        if self.idle_timeout {
            config = config.idle_timeout(Duration::from_secs(15));
        }
        if self.max_age {
            config = config.max_age(Duration::from_secs(50));
        }
        if self.small_buffers {
            config = config.write_buffer(20, 100).read_buffer(512).write_batch(64);
        }
        if self.fragments {
            config = config.fragment_size(50);
        }
        config
    }
}

impl WriteStep {
    fn parse(what: u8, much: u8, how: u8) -> Self {
        let polls = polls(how.wrapping_mul(8));
        match what % 32 {
            0..=9 => Self::Write(len(much), polls),
            10 | 11 => Self::Prepared(len(much), polls),
            12 | 13 => Self::Batch(len(much), polls),
            14..=16 => Self::Try(len(much)),
            17..=19 => Self::Stream(len(much), len(how.wrapping_mul(8)).max(1)),
            20 | 21 => Self::Flush(polls),
            22 | 23 => Self::Ping(polls),
            24 => Self::Pong,
            25 => Self::Closed(much.into()),
            26 => match much {
                0..=30 => Self::CloseNow,
                31..=60 => Self::Unfinished(len(much)),
                _ => Self::Close([1000, 1005, 3001, 4999][usize::from(much) % 4], polls),
            },
            _ => Self::Pause(pause(much)),
        }
    }
}

impl ReadStep {
    fn parse(what: u8, much: u8) -> Self {
        match what % 16 {
            0..=5 => Self::Read(usize::from(much) % 60),
            6..=8 => Self::Pieces(usize::from(much) % 8),
            9 => Self::Ping(usize::from(much) % 60),
            10 => Self::Closed(usize::from(much) % 60),
            11 if much > 200 => Self::Close,
            _ => Self::Pause(pause(much)),
        }
    }
}

impl NetworkStep {
    fn parse(what: u8, much: u8) -> Self {
        match what % 16 {
            0..=3 => Self::Pause(pause(much)),
            4 => Self::Jump(pause(much)),
            5 | 6 => Self::Stall(usize::from(much) % 2),
            7..=9 => Self::Resume,
            10 => Self::End(usize::from(much) % 2),
            11 => Self::Cut,
            12 => Self::Reset,
            13 | 14 => Self::Step(1 + len(much)),
            _ => Self::Capacity(1 + len(much)),
        }
    }
}

type Shared<T> = Arc<Mutex<T>>;

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What one side has done and seen.
#[derive(Clone, Debug, Default)]
struct Log {
    written: Vec<(Message, Certain)>,
    received: Vec<Received>,
    /// When it has begun to close, after its last message.
    leaves_at: Option<Instant>,
    /// Whether it has closed, or dropped what it would still receive.
    gave_up: bool,
    /// Whether a read has returned the error of the end.
    read_all: bool,
    ended: Option<(CloseInfo, Instant)>,
    /// The present steps of both tasks.
    doing: (&'static str, &'static str),
}

/// Whether a message was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certain {
    Written,
    /// The future was dropped, or the connection failed meanwhile.
    Maybe,
}

#[derive(Clone, Debug)]
enum Received {
    Whole(Message),
    /// The beginning of a message in pieces.
    Part(MessageType, Vec<u8>),
}

impl Received {
    fn is(&self, message: &Message) -> bool {
        match self {
            // Not whether it is to be compressed.
            Self::Whole(this) => {
                this.kind() == message.kind() && this.as_bytes() == message.as_bytes()
            }
            Self::Part(kind, part) => {
                *kind == message.kind() && message.as_bytes().starts_with(part)
            }
        }
    }
}

/// One task of one side.
struct Application {
    conn: Conn,
    log: Shared<Log>,
    settings: SideSettings,
    side: usize,
    /// Whether the clock may jump, so that no deadline is exact.
    clock_jumps: bool,
}

impl Application {
    async fn write(self, steps: Vec<WriteStep>) {
        for step in steps {
            self.take_write_step(step).await;
        }
        let leaves_at = Instant::now();
        match self.settings.leaves {
            Leaves::Close => {
                self.close(StatusCode::NORMAL_CLOSURE, None).await;
            }
            Leaves::Hold => {
                lock(&self.log).doing.0 = "closed";
                self.note_end(&self.conn.closed().await);
            }
            Leaves::Drop => {
                // Counts only if the reading task has ended, too.
                lock(&self.log).leaves_at.get_or_insert(leaves_at);
            }
        }
        lock(&self.log).doing.0 = "nothing";
    }

    async fn take_write_step(&self, step: WriteStep) {
        lock(&self.log).doing.0 = match step {
            WriteStep::Write(..) => "write",
            WriteStep::Prepared(..) => "write_prepared",
            WriteStep::Batch(..) => "write_batch",
            WriteStep::Try(_) => "try_write",
            WriteStep::Stream(..) => "writer",
            WriteStep::Unfinished(_) => "an unfinished message",
            WriteStep::Flush(_) => "flush",
            WriteStep::Ping(_) => "ping",
            WriteStep::Pong => "pong",
            WriteStep::Closed(_) => "closed, dropped",
            WriteStep::CloseNow => "close_now",
            WriteStep::Close(..) => "close",
            WriteStep::Pause(_) => "pause",
        };
        match step {
            WriteStep::Write(len, polls) => {
                let (message, number) = self.begin(len);
                self.wrote(number, poll_and_drop(self.conn.write(message), polls).await);
            }
            WriteStep::Prepared(len, polls) => {
                let (message, number) = self.begin(len);
                let message = PreparedMessage::new(message);
                let writing = self.conn.write_prepared(&message);
                self.wrote(number, poll_and_drop(writing, polls).await);
            }
            WriteStep::Batch(len, polls) => {
                let (message, number) = self.begin(len);
                let mut batch = Some(PreparedMessage::new(message));
                let writing = write_batch(&self.conn, |_| batch.take());
                let written = poll_and_drop(writing, polls).await;
                self.wrote(number, written.map(|written| written.map(drop)));
            }
            WriteStep::Try(len) => {
                let (message, number) = self.begin(len);
                match self.conn.try_write(message) {
                    Ok(()) => self.wrote(number, Some(Ok(()))),
                    Err(TryWriteError::Full | TryWriteError::Busy) => {
                        lock(&self.log).written.pop();
                    }
                    Err(TryWriteError::Conn(error)) => self.wrote(number, Some(Err(error))),
                    Err(other) => panic!("{other:?}"),
                }
            }
            WriteStep::Stream(len, piece) => {
                let (message, number) = self.begin(len);
                self.wrote(number, Some(self.stream(&message, piece).await));
            }
            WriteStep::Unfinished(len) => {
                let (message, _) = self.begin(len);
                if let Ok(mut writer) = self.conn.writer(message.kind()).await {
                    let _ = writer.write_all(message.as_bytes()).await;
                    lock(&self.log).gave_up = true;
                }
            }
            WriteStep::Flush(polls) => self.tried(poll_and_drop(self.conn.flush(), polls).await),
            WriteStep::Ping(polls) => self.tried(poll_and_drop(self.conn.ping(), polls).await),
            WriteStep::Pong => self.tried(Some(self.conn.pong("unsolicited"))),
            WriteStep::Closed(polls) => {
                let closed = poll_and_drop(self.conn.closed(), Some(polls)).await;
                closed.iter().for_each(|info| self.note_end(info));
            }
            WriteStep::CloseNow => {
                lock(&self.log).gave_up = true;
                self.conn.close_now();
                let info = self.conn.close_info().expect("it ends at once");
                self.note_end(&info);
            }
            WriteStep::Close(code, polls) => {
                let code = StatusCode::from_u16(code).expect("a code");
                self.close(code, polls).await;
            }
            WriteStep::Pause(time) => rest(time).await,
        }
    }

    async fn stream(&self, message: &Message, piece: usize) -> Result<(), Error> {
        let mut writer = self.conn.writer(message.kind()).await?;
        for piece in message.as_bytes().chunks(piece) {
            if writer.write_all(piece).await.is_err() {
                // The connection has ended.
                break;
            }
        }
        writer.finish().await
    }

    async fn close(&self, code: StatusCode, polls: Option<usize>) {
        let reason = if code == StatusCode::NO_STATUS_RECEIVED { "" } else { "bye" };
        {
            let mut log = lock(&self.log);
            log.doing.0 = "close";
            if polls != Some(0) {
                log.gave_up = true;
                log.leaves_at.get_or_insert_with(Instant::now);
            }
        }
        let began = Instant::now();
        if let Some(closed) = poll_and_drop(self.conn.close(code, reason), polls).await {
            let in_time = began.elapsed() <= CLOSE_TIMEOUT + Duration::from_millis(10);
            assert!(in_time || self.clock_jumps, "close takes {:?}", began.elapsed());
            let info = self.conn.close_info().expect("close waits for the end");
            assert_eq!(closed.is_ok(), info.is_clean(), "{closed:?}, {info:?}");
            self.note_end(&info);
        }
    }

    /// Makes the next message. Not all messages differ.
    fn begin(&self, len: usize) -> (Message, usize) {
        let mut log = lock(&self.log);
        let number = log.written.len();
        let unit = format!("{}.{number} ", self.side);
        let text = unit.chars().cycle().take(len).collect::<String>();
        let message = match number % 3 {
            0 => Message::binary(text.into_bytes()),
            1 => Message::from(text),
            _ => Message::from(text).uncompressed(),
        };
        log.written.push((message.clone(), Certain::Maybe));
        (message, number)
    }

    fn wrote(&self, number: usize, result: Option<Result<(), Error>>) {
        if let Some(Ok(())) = result {
            lock(&self.log).written[number].1 = Certain::Written;
        }
        self.tried(result);
    }

    fn tried<T>(&self, result: Option<Result<T, Error>>) {
        if let Some(Err(error)) = result {
            self.check_error(&error);
        }
    }

    async fn read(self, steps: Vec<ReadStep>) {
        for step in steps {
            let doing = match step {
                ReadStep::Read(_) => "read",
                ReadStep::Pieces(_) => "reader",
                ReadStep::Ping(_) => "ping",
                ReadStep::Closed(_) => "closed, dropped",
                ReadStep::Close => "close",
                ReadStep::Pause(_) => "pause",
            };
            lock(&self.log).doing.1 = doing;
            match step {
                ReadStep::Read(polls) => {
                    if let Some(result) = poll_and_drop(self.conn.read(), Some(polls)).await {
                        self.note_read(result);
                    }
                }
                ReadStep::Pieces(count) => self.read_pieces(count).await,
                ReadStep::Ping(polls) => {
                    self.tried(poll_and_drop(self.conn.ping(), Some(polls)).await);
                }
                ReadStep::Closed(polls) => {
                    let closed = poll_and_drop(self.conn.closed(), Some(polls)).await;
                    closed.iter().for_each(|info| self.note_end(info));
                }
                ReadStep::Close => {
                    {
                        let mut log = lock(&self.log);
                        log.gave_up = true;
                        log.leaves_at.get_or_insert_with(Instant::now);
                    }
                    let _ = self.conn.close(StatusCode::GOING_AWAY, "the reader leaves").await;
                }
                ReadStep::Pause(time) => rest(time).await,
            }
        }
        lock(&self.log).doing.1 = "read";
        if self.settings.reads_to_the_end {
            self.read_to_the_end().await;
        }
        lock(&self.log).doing.1 = "nothing";
    }

    async fn read_to_the_end(&self) {
        loop {
            let result = self.conn.read().await;
            let ended = result.is_err();
            self.note_read(result);
            if ended {
                let again = self.conn.read().await.expect_err("an end is final");
                let info = self.conn.close_info().expect("a read failed");
                same(&again, &info.error);
                return self.note_end(&info);
            }
        }
    }

    async fn read_pieces(&self, count: usize) {
        let opened = poll_and_drop(self.conn.reader(), Some(40 + count)).await;
        let mut reader = match opened {
            None => return,
            Some(Ok(reader)) => reader,
            Some(Err(error)) => return self.note_read(Err(error)),
        };
        let mut payload = Vec::new();
        for _ in 0..count {
            match reader.chunk().await {
                Ok(Some(piece)) => payload.extend_from_slice(&piece),
                Ok(None) => {
                    let message = match reader.kind() {
                        MessageType::Text => Message::text_from_bytes(payload).expect("UTF-8"),
                        MessageType::Binary => Message::binary(payload),
                    };
                    return lock(&self.log).received.push(Received::Whole(message));
                }
                Err(error) => {
                    // The connection has ended inside the message.
                    self.check_error(&error);
                    return;
                }
            }
        }
        lock(&self.log).received.push(Received::Part(reader.kind(), payload));
    }

    fn note_read(&self, result: Result<Message, Error>) {
        match result {
            Ok(message) => lock(&self.log).received.push(Received::Whole(message)),
            Err(error) => {
                self.check_error(&error);
                let info = self.conn.close_info();
                if let Some(info) = info {
                    same(&error, &info.error);
                    lock(&self.log).read_all = true;
                }
            }
        }
    }

    fn note_end(&self, info: &CloseInfo) {
        self.check_error(&info.error);
        let mut log = lock(&self.log);
        if let Some((before, _)) = &log.ended {
            same(&before.error, &info.error);
        } else {
            log.ended = Some((info.clone(), Instant::now()));
        }
        drop(log);
        let again = self.conn.close_info().expect("it has ended");
        same(&again.error, &info.error);
    }

    /// Neither side violates the protocol or exceeds a limit, whatever is dropped.
    fn check_error(&self, error: &Error) {
        let SideSettings { keepalive, idle_timeout, max_age, .. } = self.settings;
        let is_possible = match error {
            Error::Closed(close) => {
                matches!(close.code.as_u16(), 1000 | 1001 | 1005 | 1006 | 1011 | 3001 | 4999)
            }
            Error::CloseSent => true,
            Error::Timeout(Deadline::Keepalive) => keepalive.is_some(),
            Error::Timeout(Deadline::Idle) => idle_timeout,
            Error::Timeout(Deadline::Age) => max_age,
            Error::Timeout(_) => true,
            _ => false,
        };
        assert!(is_possible, "{error:?}");
    }
}

#[track_caller]
fn same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

async fn rest(time: Duration) {
    if time.is_zero() {
        return yield_now().await;
    }
    sleep(time).await // tidy: sleep is the subject
}

/// Polls a future up to a number of times, then drops it. Returns its output if it completed.
async fn poll_and_drop<T>(future: impl Future<Output = T>, polls: Option<usize>) -> Option<T> {
    let mut future = pin!(future);
    let Some(polls) = polls else { return Some(future.await) };
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Compares what one side has written with what the other has received.
fn compare(from: &Log, to: &Log, [_, receiver]: [SideSettings; 2]) {
    // The numbers of messages that may have been looked at, since dropped ones may look alike.
    let mut positions = BTreeSet::from([0]);
    for (count, received) in to.received.iter().enumerate() {
        let mut next = BTreeSet::new();
        for position in positions {
            for (at, (message, certain)) in from.written.iter().enumerate().skip(position) {
                if received.is(message) {
                    next.insert(at + 1);
                }
                if *certain == Certain::Written {
                    break;
                }
            }
        }
        assert!(!next.is_empty(), "message {count} is lost, repeated or moved: {from:?}, {to:?}");
        positions = next;
    }
    let ends_at = |position: &usize| {
        from.written[*position..].iter().all(|(_, certain)| *certain == Certain::Maybe)
    };
    let is_complete = positions.iter().any(ends_at);
    if let (Some((info, ended)), Some(left)) = (&to.ended, from.leaves_at) {
        // The sender drops messages after half of its timeout.
        // 1011 follows a fault, and overtakes messages.
        let was_orderly = info.by == CloseInitiator::Peer
            && info.received.as_ref().is_some_and(|close| close.code.as_u16() != 1011)
            && *ended < left + CLOSE_TIMEOUT / 2;
        if was_orderly && receiver.reads_to_the_end && to.read_all && !to.gave_up {
            assert!(is_complete, "messages before the close frame are lost: {from:?}, {to:?}");
        }
    }
    if let (Some((from, _)), Some((to, _))) = (&from.ended, &to.ended)
        && let Some(received) = &to.received
    {
        assert_eq!(from.sent.as_ref(), Some(received), "a close frame that was not sent");
    }
}

/// Both directions of a network. The index is the side that writes.
#[derive(Debug)]
struct Network {
    directions: [NetworkDirection; 2],
    settings: NetworkSettings,
    broken: bool,
    noise: u32,
    calls: usize,
}

#[derive(Debug, Default)]
struct NetworkDirection {
    bytes: VecDeque<u8>,
    stalled: bool,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl NetworkDirection {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Network {
    fn new(settings: NetworkSettings) -> Self {
        Self { directions: Default::default(), settings, broken: false, noise: 1, calls: 0 }
    }

    /// Whether this call is pending for no reason.
    fn is_busy(&mut self, cx: &Context<'_>) -> bool {
        self.noise = self.noise.wrapping_mul(0x915f_77f5).wrapping_add(0x3039);
        let busy = self.noise >> 28 < self.settings.pending;
        if busy {
            cx.waker().wake_by_ref();
        }
        busy
    }

    /// How much a direction holds, and how much the present call moves.
    fn limits(&mut self) -> (usize, usize) {
        self.calls += 1;
        let least = if self.calls > SLOW_CALLS { 4096 } else { 0 };
        (self.settings.capacity.max(least), self.settings.step.max(least))
    }

    fn wake(&mut self) {
        self.directions.iter_mut().for_each(NetworkDirection::wake);
    }
}

async fn take_step(network: &Mutex<Network>, step: NetworkStep) {
    match step {
        NetworkStep::Pause(time) => return rest(time).await,
        NetworkStep::Jump(time) => return tokio::time::advance(time).await,
        _ => {}
    }
    let mut network = lock(network);
    match step {
        NetworkStep::Pause(_) | NetworkStep::Jump(_) => {}
        NetworkStep::Stall(way) => network.directions[way].stalled = true,
        NetworkStep::Resume => {
            network.directions.iter_mut().for_each(|direction| direction.stalled = false);
        }
        NetworkStep::End(way) => network.directions[way].ended = true,
        NetworkStep::Cut => {
            for direction in &mut network.directions {
                direction.stalled = false;
                direction.ended = true;
            }
        }
        NetworkStep::Reset => network.broken = true,
        NetworkStep::Step(most) => network.settings.step = most,
        NetworkStep::Capacity(most) => network.settings.capacity = most,
    }
    network.wake();
}

/// One end of the network.
struct NetworkEnd {
    network: Shared<Network>,
    side: usize,
}

impl AsyncRead for NetworkEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut network = lock(&self.network);
        if network.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if network.is_busy(cx) {
            return Poll::Pending;
        }
        let most = network.limits().1.min(buf.remaining());
        let direction = &mut network.directions[1 - self.side];
        if direction.stalled || (direction.bytes.is_empty() && !direction.ended) {
            direction.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = most.min(direction.bytes.len());
        for byte in direction.bytes.drain(..count) {
            buf.put_slice(&[byte]);
        }
        direction.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for NetworkEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut network = lock(&self.network);
        if network.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if network.is_busy(cx) {
            return Poll::Pending;
        }
        let (capacity, step) = network.limits();
        let direction = &mut network.directions[self.side];
        if direction.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = capacity.saturating_sub(direction.bytes.len());
        if room == 0 {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(step).min(bytes.len());
        direction.bytes.extend(&bytes[..count]);
        direction.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut network = lock(&self.network);
        network.directions[self.side].ended = true;
        network.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for NetworkEnd {
    fn drop(&mut self) {
        let mut network = lock(&self.network);
        for direction in &mut network.directions {
            direction.ended = true;
        }
        network.wake();
    }
}
