//! What does the client promise in a browser? `tests/browser.rs` has the server.
#![cfg(target_arch = "wasm32")]

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, TryStreamExt as _, join};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use ws_client::reconnect::{Backoff, ReconnectError, ReconnectState};
use ws_client::{
    CloseInitiator, Conn, Deadline, Dial, DialError, Error, InvalidUrl, Message, Reconnect,
    ReconnectingConn, SendError, StatusCode, TryWriteError,
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = control, catch)]
    async fn control_by_script(command: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: i32) -> JsValue;
}

/// Tells the test to do something, and waits until it is done.
async fn control(command: &str) -> Result<String> {
    let answer = control_by_script(command).await.map_err(|error| anyhow!("{error:?}"))?;
    Ok(answer.as_string().unwrap_or_default())
}

/// Waits until all timers of at most so many milliseconds have fired that were set before: a page
/// fires those first, however late it is.
async fn after_timers(milliseconds: i32) -> Result<()> {
    let fired = Promise::new(&mut |fire, _| _ = set_timeout(&fire, milliseconds));
    JsFuture::from(fired).await.map_err(|error| anyhow!("{error:?}"))?;
    Ok(())
}

macro_rules! scenes {
    ($($name:ident,)+) => {
        /// The names of the scenes.
        #[wasm_bindgen]
        pub fn names() -> Vec<String> {
            vec![$(stringify!($name).to_owned()),+]
        }

        /// Runs a scene with the server at an origin such as `ws://127.0.0.1:80`.
        #[wasm_bindgen]
        pub async fn run(name: String, origin: String) -> Result<(), String> {
            let done = match &*name {
                $(stringify!($name) => $name(&Server(origin)).await,)+
                _ => Err(anyhow!("no such scene")),
            };
            done.map_err(|error| format!("{name}: {error:#}"))
        }
    };
}

scenes! {
    messages_of_all_lengths_are_echoed,
    messages_are_a_stream_and_a_sink,
    json_goes_both_ways,
    a_message_that_cannot_be_decoded_closes_with_3007,
    codes_of_the_server_arrive,
    codes_of_the_client_arrive,
    codes_that_a_browser_does_not_send_are_refused,
    a_dial_that_fails_has_one_error,
    an_invalid_dial_sends_nothing,
    a_late_server_is_a_timeout,
    subprotocols_are_negotiated,
    a_dropped_read_loses_nothing,
    a_dropped_dial_or_handle_closes,
    a_dial_dropped_at_any_point_leaves_no_connection,
    a_dropped_close_goes_on,
    a_dropped_flush_does_not_replace_a_close,
    two_readers_share_the_messages,
    the_first_of_two_closes_counts,
    a_server_that_ends_during_the_dial_is_a_failure,
    a_close_right_behind_the_handshake_arrives,
    a_message_over_the_read_limit_closes_with_3009,
    empty_messages_fill_the_queue,
    a_server_that_does_not_read_stops_writes,
    messages_that_a_failure_drops_are_not_flushed,
    a_close_without_an_answer_times_out,
    a_lost_transport_ends_with_1006,
    many_messages_need_no_memory,
    a_slow_reader_stops_the_server_where_the_browser_can,
    the_end_is_seen_behind_unread_messages,
    a_close_behind_messages_that_the_browser_drops_is_not_clean,
    a_lost_connection_is_replaced_behind_unread_messages,
    a_page_that_polls_once_gets_the_connection,
    a_session_is_resumed_with_what_was_missed,
    a_killed_server_is_dialled_again,
    a_normal_close_is_not_followed_by_another_dial,
    a_code_that_is_refused_does_not_end_a_reconnecting_connection,
    no_attempt_is_made_while_the_browser_is_offline,
    a_browser_that_is_online_again_dials_at_once,
    a_page_that_becomes_visible_dials_at_once,
    many_reconnects_need_no_memory,
    the_bot_works_as_on_linux,
}

struct Server(String);

impl Server {
    fn dial(&self, path: &str) -> Dial {
        Dial::new(format!("{}{path}", self.0)).read_limit(20 * 1024 * 1024)
    }

    async fn connect(&self, path: &str) -> Result<Conn> {
        Ok(self.dial(path).connect().await?)
    }
}

fn code(code: u16) -> Result<StatusCode> {
    StatusCode::from_u16(code).with_context(|| format!("{code}"))
}

/// Bytes that differ.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect()
}

async fn messages_of_all_lengths_are_echoed(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    for length in [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024, 16 * 1024 * 1024] {
        let binary = Message::binary(bytes(length));
        conn.write(binary.clone()).await?;
        ensure!(conn.read().await? == binary, "{length} bytes");
        let text = Message::text("ü🦀".repeat(length / 6));
        conn.write(text.clone()).await?;
        ensure!(conn.read().await? == text, "text of {length} bytes");
    }
    conn.close(StatusCode::NORMAL_CLOSURE, "done").await?;
    let end = conn.closed().await;
    ensure!(end.is_clean() && end.by == CloseInitiator::Local, "{end:?}");
    Ok(())
}

async fn messages_are_a_stream_and_a_sink(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    let (mut sink, mut stream) = conn.messages().split();
    for number in 0..100 {
        sink.send(Message::text(number.to_string())).await?;
        let message = stream.try_next().await?.context("no message")?;
        ensure!(message.as_text() == Some(&*number.to_string()), "{message:?}");
    }
    sink.close().await?;
    ensure!(stream.next().await.is_none(), "the stream goes on");
    Ok(())
}

async fn json_goes_both_ways(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    conn.write_json(&("a", 1)).await?;
    let read: (String, u8) = conn.read_json().await?;
    ensure!(read == ("a".to_owned(), 1), "{read:?}");
    Ok(())
}

async fn a_message_that_cannot_be_decoded_closes_with_3007(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    conn.write("no number").await?;
    let read = conn.read_json::<u8>().await;
    ensure!(matches!(read, Err(Error::Codec(_))), "{read:?}");
    let end = conn.closed().await;
    ensure!(end.received.is_some_and(|close| close.code.as_u16() == 3007), "not 3007");
    ensure!(matches!(conn.read().await, Err(Error::Codec(_))), "another error");
    Ok(())
}

async fn codes_of_the_server_arrive(server: &Server) -> Result<()> {
    for (number, reason) in [(1000, ""), (1001, "away"), (1011, "ü"), (3000, ""), (4999, "last")] {
        let conn = server.connect(&format!("/close?code={number}&reason={reason}")).await?;
        ensure!(conn.read().await?.as_text() == Some("last message"), "{number}");
        let Err(Error::Closed(close)) = conn.read().await else { bail!("{number} is no close") };
        ensure!(close.code == code(number)? && close.reason == reason, "{close:?}");
        let end = conn.closed().await;
        ensure!(end.is_clean() && end.by == CloseInitiator::Peer, "{end:?}");
        ensure!(matches!(conn.write("late").await, Err(Error::Closed(_))), "written");
    }
    let conn = server.connect("/close").await?;
    conn.read().await?;
    let Err(error) = conn.read().await else { bail!("no end") };
    ensure!(error.close_status() == Some(StatusCode::NO_STATUS_RECEIVED), "{error}");
    Ok(())
}

async fn codes_of_the_client_arrive(server: &Server) -> Result<()> {
    for (number, reason) in [(1000, ""), (1000, "bye"), (3000, "ü"), (4999, ""), (1005, "")] {
        let conn = server.connect(&format!("/echo?name={number}{reason}")).await?;
        conn.write("before").await?;
        let close_code = code(number)?;
        conn.close(close_code, reason).await?;
        let told = control(&format!("end {number}{reason}")).await?;
        ensure!(told == format!("{number} {reason}"), "{told}");
        // The server echoes both.
        let end = conn.closed().await;
        let echo = end.received.as_ref();
        let is_echo = echo.is_some_and(|it| it.code == close_code && it.reason == reason);
        ensure!(is_echo && end.by == CloseInitiator::Local, "{number} {reason}: {end:?}");
        ensure!(matches!(conn.write("late").await, Err(Error::Closed(_))), "written");
    }
    Ok(())
}

async fn codes_that_a_browser_does_not_send_are_refused(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    for number in [1001, 1002, 1006, 1008, 1011, 1014, 1015, 2999] {
        let closed = conn.close(code(number)?, "").await;
        let is_refused = matches!(closed, Err(Error::SendError(SendError::Code(_))));
        ensure!(is_refused, "{number}: {closed:?}");
    }
    let long = "x".repeat(124);
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, &long).await;
    ensure!(matches!(closed, Err(Error::SendError(SendError::Reason(124)))), "{closed:?}");
    conn.write("still open").await?;
    ensure!(conn.read().await?.as_text() == Some("still open"), "another message");
    Ok(())
}

async fn a_dial_that_fails_has_one_error(server: &Server) -> Result<()> {
    for path in ["/refused", "/missing", "/origin"] {
        let dialled = server.dial(path).connect().await;
        ensure!(matches!(dialled, Err(DialError::Failed)), "{path}: {dialled:?}");
    }
    // A port that browsers allow, and where nobody listens.
    let dialled = Dial::new("ws://127.0.0.1:9").connect().await;
    ensure!(matches!(dialled, Err(DialError::Failed)), "{dialled:?}");
    Ok(())
}

async fn an_invalid_dial_sends_nothing(_: &Server) -> Result<()> {
    for (url, expected) in [
        ("/chat", InvalidUrl::Relative),
        ("ws://", InvalidUrl::Host),
        ("ws://[", InvalidUrl::Host),
        ("ws://example.com/#top", InvalidUrl::Fragment),
        ("ftp://example.com", InvalidUrl::Scheme("ftp".into())),
    ] {
        let dialled = Dial::new(url).connect().await;
        let Err(DialError::Url(error)) = dialled else { bail!("{url}: {dialled:?}") };
        ensure!(error == expected, "{url}: {error:?}");
    }
    for names in [["a", "a"], ["a b", "c"]] {
        let dialled = Dial::new("ws://example.com").subprotocols(names).connect().await;
        ensure!(matches!(dialled, Err(DialError::Subprotocol(_))), "{dialled:?}");
    }
    Ok(())
}

async fn a_late_server_is_a_timeout(server: &Server) -> Result<()> {
    let dial = server.dial("/never").connect_timeout(Duration::from_millis(50));
    let dialled = dial.connect().await;
    ensure!(matches!(dialled, Err(DialError::Timeout(_))), "{dialled:?}");
    Ok(())
}

async fn subprotocols_are_negotiated(server: &Server) -> Result<()> {
    let conn = server.dial("/subprotocols").subprotocols(["a", "b", "c"]).connect().await?;
    ensure!(conn.subprotocol() == Some("b"), "{:?}", conn.subprotocol());
    let conn = server.connect("/subprotocols").await?;
    ensure!(conn.subprotocol().is_none(), "{:?}", conn.subprotocol());
    if control("is-page").await? == "yes" {
        let dialled = server.dial("/subprotocols").subprotocols(["z"]).connect().await;
        ensure!(matches!(dialled, Err(DialError::Failed)), "{dialled:?}");
    }
    Ok(())
}

async fn a_dropped_read_loses_nothing(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    for number in 0..100_u32 {
        // Each is polled once, and dropped.
        for _ in 0..3 {
            ensure!(conn.read().now_or_never().is_none(), "a message too early");
        }
        conn.write(number.to_string()).await?;
        drop(conn.closed().now_or_never());
        ensure!(conn.read().await?.as_text() == Some(&*number.to_string()), "{number}");
    }
    Ok(())
}

async fn a_dropped_dial_or_handle_closes(server: &Server) -> Result<()> {
    let mut dial = Box::pin(server.dial("/never").connect());
    ensure!((&mut dial).now_or_never().is_none(), "opened");
    drop(dial);
    ensure!(control("never").await? == "dropped", "the handshake goes on");

    let conn = server.connect("/echo?name=dropped").await?;
    let other = conn.clone();
    drop(conn);
    other.write("last").await?;
    ensure!(other.read().await?.as_text() == Some("last"), "another message");
    other.write("sent by the drop").await?;
    drop(other);
    ensure!(control("end dropped").await? == "1005 ", "another code");
    Ok(())
}

async fn a_dial_dropped_at_any_point_leaves_no_connection(server: &Server) -> Result<()> {
    for polls in 0.. {
        ensure!(polls < 1000, "the dial does not end");
        let mut dial = Box::pin(server.dial("/echo").connect());
        let mut opened = None;
        for _ in 0..polls {
            opened = (&mut dial).now_or_never().transpose()?;
            if opened.is_some() {
                break;
            }
            control("turn").await?;
        }
        drop(dial);
        if opened.is_some() {
            break;
        }
    }
    ensure!(control("idle").await? == "idle", "a connection is open");
    Ok(())
}

async fn a_dropped_close_goes_on(server: &Server) -> Result<()> {
    let conn = server.connect("/echo?name=half").await?;
    ensure!(conn.close(code(3001)?, "dropped").now_or_never().is_none(), "closed too early");
    ensure!(conn.closed().await.is_clean(), "not closed");
    ensure!(control("end half").await? == "3001 dropped", "another code");
    Ok(())
}

async fn a_dropped_flush_does_not_replace_a_close(server: &Server) -> Result<()> {
    let conn = server.connect("/echo?name=flush").await?;
    let mut sink = conn.messages();
    sink.feed(Message::binary(bytes(1024 * 1024))).await?;
    ensure!(sink.flush().now_or_never().is_none(), "flushed too early");
    sink.close().await?;
    ensure!(conn.close_info().is_some(), "still open");
    ensure!(control("end flush").await? == "1000 ", "another code");
    Ok(())
}

async fn two_readers_share_the_messages(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    let other = conn.clone();
    for number in 0..50 {
        let pair = [2 * number, 2 * number + 1].map(|number| Message::text(number.to_string()));
        for message in &pair {
            conn.write(message.clone()).await?;
        }
        let (first, second) = join!(conn.read(), other.read());
        let read = [first?, second?];
        ensure!(pair.iter().all(|message| read.contains(message)), "{read:?}, not {pair:?}");
    }

    let conn = server.connect("/close?code=3000").await?;
    let other = conn.clone();
    let read: [_; 2] = join!(conn.read(), other.read()).into();
    ensure!(read.iter().filter(|read| read.is_ok()).count() == 1, "{read:?}");
    let read: [_; 2] = join!(conn.read(), other.read()).into();
    ensure!(read.iter().all(|read| matches!(read, Err(Error::Closed(_)))), "{read:?}");
    Ok(())
}

async fn the_first_of_two_closes_counts(server: &Server) -> Result<()> {
    let conn = server.connect("/echo?name=twice").await?;
    let other = conn.clone();
    let (one, two) = join!(conn.close(code(3001)?, "one"), other.close(code(3002)?, "two"));
    one?;
    two?;
    ensure!(control("end twice").await? == "3001 one", "another code");
    conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
    Ok(())
}

async fn a_server_that_ends_during_the_dial_is_a_failure(server: &Server) -> Result<()> {
    let mut dial = Box::pin(server.dial("/never").connect());
    ensure!((&mut dial).now_or_never().is_none(), "opened");
    control("kill").await?;
    let dialled = dial.await;
    control("start").await?;
    ensure!(matches!(dialled, Err(DialError::Failed)), "{dialled:?}");
    Ok(())
}

async fn a_close_right_behind_the_handshake_arrives(server: &Server) -> Result<()> {
    for _ in 0..20 {
        let conn = server.connect("/gone").await?;
        let Err(Error::Closed(close)) = conn.read().await else { bail!("no close") };
        ensure!(close.code == StatusCode::SERVICE_RESTART, "{close:?}");
        ensure!(close.reason == "too soon", "{close:?}");
    }
    Ok(())
}

async fn a_message_over_the_read_limit_closes_with_3009(server: &Server) -> Result<()> {
    let conn = server.dial("/echo?name=limited").read_limit(1000).connect().await?;
    for message in [Message::binary(bytes(1000)), Message::text("x".repeat(1001))] {
        conn.write(message).await?;
    }
    ensure!(conn.read().await?.as_bytes().len() == 1000, "another message");
    let read = conn.read().await;
    let Err(Error::MessageTooBig { limit: 1000, .. }) = read else { bail!("{read:?}") };
    conn.closed().await;
    ensure!(control("end limited").await? == "3009 ", "another code");
    Ok(())
}

async fn a_server_that_does_not_read_stops_writes(server: &Server) -> Result<()> {
    let conn = server.connect("/stuck").await?;
    let message = Message::binary(bytes(64 * 1024));
    let mut written = 0;
    // The sockets of the two processes have buffers, too.
    while let Some(done) = conn.write(message.clone()).now_or_never() {
        done?;
        written += 1;
        control("turn").await?;
        ensure!(written < 1000, "writes do not wait");
    }
    let tried = conn.try_write("no room");
    ensure!(matches!(tried, Err(TryWriteError::Full)), "{tried:?}");
    // A dropped write queues nothing.
    ensure!(conn.write("dropped").now_or_never().is_none(), "room");
    control("release").await?;
    conn.write("end").await?;
    let count = conn.read().await?;
    ensure!(count.as_text() == Some(&*written.to_string()), "{count:?}, not {written}");
    Ok(())
}

async fn empty_messages_fill_the_queue(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    // Without a turn, the task of the connection sends none.
    let mut queued = 0_usize;
    while conn.try_write("").is_ok() {
        queued += 1;
        ensure!(queued < 10_000, "the queue has no bound");
    }
    for _ in 0..queued {
        ensure!(conn.read().await?.as_text() == Some(""), "another message");
    }
    conn.write("room again").await?;
    Ok(())
}

async fn messages_that_a_failure_drops_are_not_flushed(server: &Server) -> Result<()> {
    let dial = server.dial("/deaf").close_timeout(Duration::from_millis(100));
    let conn = dial.connect().await?;
    // Some messages stay in the queue.
    let message = Message::binary(bytes(64 * 1024));
    while let Some(done) = conn.write(message.clone()).now_or_never() {
        done?;
        control("turn").await?;
    }
    let flush = conn.flush();
    let read = conn.read_json::<u8>().await;
    ensure!(matches!(read, Err(Error::Codec(_))), "{read:?}");
    for flushed in [flush.await, conn.flush().await] {
        ensure!(matches!(flushed, Err(Error::Codec(_))), "{flushed:?}");
    }
    Ok(())
}

async fn a_close_without_an_answer_times_out(server: &Server) -> Result<()> {
    let conn = server.dial("/stuck").close_timeout(Duration::from_millis(100)).connect().await?;
    // The server does not see a close frame behind so many bytes.
    for _ in 0..4 {
        conn.write(bytes(64 * 1024)).await?;
    }
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
    ensure!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
    ensure!(matches!(conn.read().await, Err(Error::Timeout(Deadline::Close))), "another end");
    control("release").await?;
    Ok(())
}

async fn a_lost_transport_ends_with_1006(server: &Server) -> Result<()> {
    let conn = server.connect("/abort").await?;
    conn.write("go").await?;
    let end = conn.closed().await;
    ensure!(end.by == CloseInitiator::Transport && !end.is_clean(), "{end:?}");
    ensure!(end.error.close_status() == Some(StatusCode::ABNORMAL_CLOSURE), "{end:?}");
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
    ensure!(matches!(closed, Err(Error::Closed(_))), "{closed:?}");
    Ok(())
}

fn memory() -> usize {
    core::arch::wasm32::memory_size(0)
}

/// Ten with `WS_SOAK`.
async fn rounds() -> Result<usize> {
    Ok(control("rounds").await?.parse()?)
}

async fn many_messages_need_no_memory(server: &Server) -> Result<()> {
    let conn = server.connect("/echo").await?;
    let message = Message::text("m".repeat(100));
    let mut before = 0;
    for number in 0..10_000 * rounds().await? {
        conn.write(message.clone()).await?;
        ensure!(conn.read().await? == message, "{number}");
        if number == 1000 {
            before = memory();
        }
    }
    ensure!(memory() == before, "{before} pages, now {}", memory());
    Ok(())
}

async fn a_slow_reader_stops_the_server_where_the_browser_can(server: &Server) -> Result<()> {
    let conn = server.connect("/flood").await?;
    conn.write("start").await?;
    if control("has-backpressure").await? == "no" {
        return Ok(());
    }
    // The server has written less than it would like to.
    let written: usize = control("flooded").await?.parse()?;
    ensure!(written < FLOOD, "all was received");
    for number in 0..FLOOD {
        let message = conn.read().await?;
        ensure!(message.as_bytes().len() == 64 * 1024, "{number}: {message:?}");
    }
    Ok(())
}

/// Reads up to the end of the connection: the number of messages, and the code.
async fn read_to_end(conn: &Conn) -> Result<(usize, u16)> {
    let mut count = 0;
    loop {
        match conn.read().await {
            Ok(_) => count += 1,
            Err(Error::Closed(close)) => return Ok((count, close.code.as_u16())),
            Err(error) => bail!("{error}"),
        }
    }
}

async fn the_end_is_seen_behind_unread_messages(server: &Server) -> Result<()> {
    for short in [1, 10, 100, 150, 200, 800] {
        for (end, expected) in [("", 1006), ("&code=1012", 1012)] {
            let conn = server.connect(&format!("/end?short={short}{end}")).await?;
            let seen = conn.closed().await;
            ensure!(seen.received.is_some() == (expected == 1012), "{short}{end}: {seen:?}");
            let read = read_to_end(&conn).await?;
            ensure!(read == (short, expected), "{short}{end}: {read:?}");
        }
    }
    Ok(())
}

async fn a_close_behind_messages_that_the_browser_drops_is_not_clean(
    server: &Server,
) -> Result<()> {
    let has_backpressure = control("has-backpressure").await? == "yes";
    // The queue is full with the last long message, and takes one more. The browser holds the others.
    for short in [0, 1, 2, 50] {
        let conn = server.connect(&format!("/end?long=16&short={short}&code=1000")).await?;
        let seen = conn.closed().await;
        let received = seen.received.as_ref().map(|close| close.code.as_u16());
        ensure!(received == Some(1000), "{short}: {seen:?}");
        let read = read_to_end(&conn).await?;
        if has_backpressure && short > 0 {
            ensure!(read.0 > 16 && read.1 == 1006, "{short}: {read:?}");
        } else {
            ensure!(read == (16 + short, 1000), "{short}: {read:?}");
        }
    }
    Ok(())
}

/// How many messages of 64 KiB the server writes to a client that does not read.
const FLOOD: usize = 1000;

/// Each wait is short.
fn reconnect(dial: Dial) -> Reconnect {
    let short = Duration::from_millis(10);
    Reconnect::new(dial).backoff(Backoff::new().first(short).max(short))
}

async fn check_echo(conn: &ReconnectingConn, text: &str) -> Result<()> {
    conn.write(text).await?;
    let echo = conn.read().await?;
    ensure!(echo.as_text() == Some(text), "{echo:?}");
    Ok(())
}

/// Waits until the connection is lost.
async fn lost(conn: &ReconnectingConn) -> Result<()> {
    let mut events = conn.events();
    loop {
        match events.next().await.context("no event")? {
            ReconnectState::Waiting { .. } => return Ok(()),
            ReconnectState::Ended(error) => bail!("{error}"),
            _ => {}
        }
    }
}

async fn a_killed_server_is_dialled_again(server: &Server) -> Result<()> {
    let conn = reconnect(server.dial("/echo"))
        .on_connect(async |conn| conn.write("subscribe").await)
        .connect()
        .await?;
    ensure!(conn.read().await?.as_text() == Some("subscribe"), "no subscription");
    check_echo(&conn, "before").await?;
    control("kill").await?;
    lost(&conn).await?;
    conn.write("meanwhile").await?;
    control("start").await?;
    for expected in ["subscribe", "meanwhile"] {
        let message = conn.read().await?;
        ensure!(message.as_text() == Some(expected), "{message:?}");
    }
    conn.flush().await?;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
    ensure!(matches!(conn.read().await, Err(ReconnectError::Closed)), "open");
    Ok(())
}

async fn a_lost_connection_is_replaced_behind_unread_messages(server: &Server) -> Result<()> {
    for end in ["", "&code=1012"] {
        let conn = reconnect(server.dial(&format!("/end-first?short=200{end}"))).connect().await?;
        lost(&conn).await?;
        let mut count = 0;
        while conn.read().await?.as_text() != Some("second") {
            count += 1;
        }
        ensure!(count == 200, "{end}: {count} messages");
        conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
    }
    Ok(())
}

/// Reads three events of the hub.
async fn check_events(conn: &ReconnectingConn, first: u64) -> Result<()> {
    for number in first..first + 3 {
        let message = conn.read().await?;
        let event: serde_json::Value = serde_json::from_slice(message.as_bytes())?;
        ensure!(event["data"] == number, "{event}, not {number}");
    }
    Ok(())
}

async fn a_session_is_resumed_with_what_was_missed(server: &Server) -> Result<()> {
    let conn = reconnect(server.dial("/hub")).resumable().connect().await?;
    let id = control("member").await?;
    ensure!(!conn.recovered(), "a first connection");
    control("emit 0").await?;
    check_events(&conn, 0).await?;
    for first in [3, 9, 15] {
        // The first of them may be sent into the lost connection.
        control(&format!("cut {first}")).await?;
        check_events(&conn, first).await?;
        ensure!(conn.recovered(), "a new session");
        let again = control("member").await?;
        ensure!(again == id, "{again}, not {id}");
        control(&format!("emit {}", first + 3)).await?;
        check_events(&conn, first + 3).await?;
    }
    // The next server knows of no session.
    control("kill").await?;
    control("start").await?;
    let lost = conn.read().await;
    ensure!(matches!(lost, Err(ReconnectError::SessionLost)), "{lost:?}");
    control("member").await?;
    control("emit 0").await?;
    check_events(&conn, 0).await?;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
    Ok(())
}

async fn a_page_that_polls_once_gets_the_connection(server: &Server) -> Result<()> {
    let conn = reconnect(server.dial("/echo")).connect().await?;
    for _ in 0..2 {
        let polled = conn.connected().now_or_never();
        ensure!(matches!(polled, Some(Ok(_))), "{polled:?}");
    }
    conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
    let polled = conn.connected().now_or_never();
    ensure!(matches!(polled, Some(Err(ReconnectError::Closed))), "{polled:?}");
    Ok(())
}

async fn a_normal_close_is_not_followed_by_another_dial(server: &Server) -> Result<()> {
    let conn = reconnect(server.dial("/close?code=1000")).connect().await?;
    conn.read().await?;
    let Err(ReconnectError::GaveUp(failure)) = conn.read().await else { bail!("no end") };
    ensure!(failure.close_status() == Some(StatusCode::NORMAL_CLOSURE), "{failure}");
    Ok(())
}

async fn a_code_that_is_refused_does_not_end_a_reconnecting_connection(
    server: &Server,
) -> Result<()> {
    let conn = reconnect(server.dial("/echo")).connect().await?;
    let closed = conn.close(StatusCode::GOING_AWAY, "").await;
    ensure!(matches!(closed, Err(Error::SendError(SendError::Code(_)))), "{closed:?}");
    check_echo(&conn, "still open").await?;
    conn.close(code(3000)?, "").await?;
    Ok(())
}

/// A connection that is lost, and how often it was dialled.
struct Lost {
    conn: ReconnectingConn,
    attempts: Arc<AtomicU32>,
}

impl Lost {
    /// Connects, brings the page into a state, and loses the server, which starts again.
    async fn new(server: &Server, wait: Duration, page: &str) -> Result<Self> {
        let attempts = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&attempts);
        let conn = Reconnect::new(server.dial("/echo"))
            .backoff(Backoff::new().first(wait).max(wait))
            .on_attempt(move |dial, _| {
                counts.fetch_add(1, Ordering::Relaxed);
                ready(Ok::<_, Infallible>(dial))
            })
            .connect()
            .await?;
        control(page).await?;
        control("kill").await?;
        lost(&conn).await?;
        control("start").await?;
        Ok(Self { conn, attempts })
    }

    /// It waits, and has not dialled again.
    fn check_waits(&self, after: &str) -> Result<()> {
        let (attempts, state) = (self.attempts.load(Ordering::Relaxed), self.conn.state());
        let waits = matches!(state, ReconnectState::Waiting { .. });
        ensure!(attempts == 1 && waits, "{after}: {attempts} attempts, {state:?}");
        Ok(())
    }

    /// The next attempt connects.
    async fn check_dials(&self, after: &str) -> Result<()> {
        check_echo(&self.conn, after).await?;
        let attempts = self.attempts.load(Ordering::Relaxed);
        ensure!(attempts == 2, "{after}: {attempts} attempts");
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn no_attempt_is_made_while_the_browser_is_offline(server: &Server) -> Result<()> {
    if control("is-page").await? == "no" {
        return Ok(());
    }
    let lost = Lost::new(server, Duration::from_millis(1), "offline").await?;
    for event in ["the wait", "hidden", "visible", "offline"] {
        if event != "the wait" {
            control(event).await?;
        }
        after_timers(10).await?;
        lost.check_waits(event)?;
    }
    control("online").await?;
    lost.check_dials("online").await
}

async fn a_browser_that_is_online_again_dials_at_once(server: &Server) -> Result<()> {
    if control("is-page").await? == "no" {
        return Ok(());
    }
    let lost = Lost::new(server, HOUR, "turn").await?;
    control("offline").await?;
    lost.check_waits("offline")?;
    control("online").await?;
    lost.check_dials("online").await
}

async fn a_page_that_becomes_visible_dials_at_once(server: &Server) -> Result<()> {
    if control("is-page").await? == "no" {
        return Ok(());
    }
    let lost = Lost::new(server, HOUR, "hidden").await?;
    control("hidden").await?;
    lost.check_waits("hidden")?;
    control("visible").await?;
    lost.check_dials("visible").await
}

async fn many_reconnects_need_no_memory(server: &Server) -> Result<()> {
    // The server closes each connection after a message.
    let conn = reconnect(server.dial("/close?code=1012")).connect().await?;
    let mut before = 0;
    for number in 0..100 * rounds().await? {
        ensure!(conn.read().await?.as_text() == Some("last message"), "{number}");
        if number == 50 {
            before = memory();
        }
    }
    ensure!(memory() == before, "{before} pages, now {}", memory());
    Ok(())
}

async fn the_bot_works_as_on_linux(server: &Server) -> Result<()> {
    let answers = ws_client_wasm::bot(&format!("{}/bot", server.0), "news").await?;
    ensure!(answers == 2, "{answers} answers");
    Ok(())
}
