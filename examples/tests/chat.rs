//! Does the chat example enforce its limits, and does its page work in a browser?
#![cfg(test)]

mod program;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, copy, duplex, split,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use ws_client::{Conn, Dial, StatusCode};

use crate::program::{Example, Running, free_port, in_time, skip};

/// The running chat.
struct Chat(Example);

impl Chat {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Self {
        // As long as the browser may take.
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        Self(Example::start_for("chat", &args, Duration::from_secs(300)))
    }

    /// Connects a user who has not joined a room.
    async fn enter(&self, name: &str) -> Page {
        let query = name.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        Page(in_time(self.0.dial(&format!("/ws?name={query}")).connect()).await.unwrap())
    }

    /// Connects a user who joins a room.
    async fn join(&self, name: &str, room: &str) -> Page {
        self.enter(name).await.joined(room).await
    }

    /// Connects a device of a user, who has several with one secret.
    async fn enter_with(&self, name: &str, secret: &str) -> Page {
        let dial = self.0.dial(&format!("/ws?name={name}"));
        let dial = dial.header("cookie", format!("chat={secret}"));
        Page(in_time(dial.connect()).await.unwrap())
    }

    /// A connection, and the task that passes on what the user sends.
    async fn relay(&self) -> (DuplexStream, JoinHandle<()>) {
        let server = TcpStream::connect(self.0.address()).await.unwrap();
        let (io, relay) = duplex(64 * 1024);
        let (mut from_server, mut to_server) = split(server);
        let (mut from_user, mut to_user) = split(relay);
        tokio::spawn(async move { copy(&mut from_server, &mut to_user).await });
        let sending = async move {
            // Then the server gets the end of the connection.
            let _ = copy(&mut from_user, &mut to_server).await;
            let _ = to_server.shutdown().await;
        };
        (io, tokio::spawn(sending))
    }

    /// Connects a user who joins a room, and whose pongs are lost after that.
    async fn join_without_pongs(&self, name: &str, room: &str) -> Page {
        let (io, sending) = self.relay().await;
        let dial = self.0.dial(&format!("/ws?name={name}"));
        let page = Page(in_time(dial.connect_over(io)).await.unwrap()).joined(room).await;
        sending.abort();
        page
    }
}

/// A client that sends the events of the page.
struct Page(Conn);

impl Page {
    /// Joins a room.
    async fn joined(self, room: &str) -> Self {
        self.emit("join", json!({ "room": room })).await;
        self.receive("history").await;
        self
    }

    async fn emit(&self, event: &str, data: Value) {
        let text = json!({ "event": event, "data": data }).to_string();
        in_time(self.0.write(text)).await.unwrap();
    }

    /// Returns the key of the message.
    async fn say(&self, to: &str, text: &str) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let key = LAST.fetch_add(1, Ordering::Relaxed).to_string();
        self.emit("say", json!({ "to": to, "text": text, "key": key })).await;
        key
    }

    /// Returns the data of the next event with this name.
    async fn receive(&self, event: &str) -> Value {
        self.next(&[event]).await.1
    }

    /// Returns the next of these events.
    async fn next(&self, events: &[&str]) -> (String, Value) {
        loop {
            let message = in_time(self.0.read()).await.unwrap();
            let mut said: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
            // The answer to a heartbeat is no event.
            let event = said["event"].as_str().unwrap_or("beat").to_owned();
            if events.contains(&&*event) {
                return (event, said["data"].take());
            }
        }
    }

    /// Returns the text of the next message.
    async fn receive_text(&self) -> String {
        self.receive("said").await["text"].as_str().unwrap().to_owned()
    }

    /// Whether the event arrives before the response to a heartbeat.
    async fn receives_before_beat(&self, event: &str) -> bool {
        in_time(self.0.write(r#"{"event":"beat","id":0}"#)).await.unwrap();
        self.next(&[event, "beat"]).await.0 == event
    }

    /// The close code of the server.
    async fn end(&self) -> Option<StatusCode> {
        let end = async {
            loop {
                if let Err(error) = self.0.read().await {
                    return error;
                }
            }
        };
        in_time(end).await.close_status()
    }
}

#[tokio::test]
async fn names_are_validated() {
    let chat = Chat::start();
    let long = "x".repeat(25);
    for name in [
        "",
        " ",
        &long,
        "<b>",
        "a\nb",
        "a\u{202e}b",
        "@ann",
        "#general",
        "-",
        // Invisible: a joiner without letters, a letter that shows nothing, a mark without a letter.
        "\u{200d}",
        "a\u{200d}",
        "\u{3164}",
        "\u{301}a",
    ] {
        let end = chat.enter(name).await.end().await;
        assert_eq!(end, Some(StatusCode::POLICY_VIOLATION), "{name:?}");
    }
    for name in ["x", &long[1..], "Ann-Marie O'Neil Jr.", "Дед Мороз", "張偉"] {
        chat.join(name, "general").await;
    }
}

#[tokio::test]
async fn names_and_rooms_of_all_scripts_are_accepted_in_nfc() {
    let chat = Chat::start();
    let reader = chat.join("reader", "general").await;
    for (name, shown) in [
        ("प्रिया", "प्रिया"),
        ("क्\u{200d}ष", "क्\u{200d}ष"),
        ("ประวิทย์", "ประวิทย์"),
        ("தமிழ்", "தமிழ்"),
        ("مى\u{200c}خواهم", "مى\u{200c}خواهم"),
        ("Jose\u{301}", "José"),
        ("각", "각"),
        ("👩🏽\u{200d}🚀", "👩🏽\u{200d}🚀"),
        ("❤\u{fe0f}", "❤\u{fe0f}"),
        ("🇩🇪", "🇩🇪"),
    ] {
        let page = chat.join(name, "general").await;
        page.say("general", "hello").await;
        assert_eq!(reader.receive("said").await["from"], json!(shown), "{name:?}");
        let room = name.to_lowercase();
        page.emit("join", json!({ "room": room })).await;
        let history = page.receive("history").await;
        assert_eq!(history[0], json!(shown.to_lowercase()), "{name:?}");
    }
    for room in ["", "General", "a b", "a/b", "\u{301}a", "a\u{200d}"] {
        reader.emit("join", json!({ "room": room })).await;
        assert_eq!(reader.receive("refused").await, json!(room));
    }
}

#[tokio::test]
async fn names_that_look_the_same_are_one_name() {
    let chat = Chat::start();
    let jose = chat.join("José", "general").await;
    for name in ["JOSE\u{301}", "Jos\u{200d}é", "José\u{fe0f}"] {
        let end = async { chat.enter(name).await.end().await };
        let end = tokio::select! { end = end => end, end = jose.end() => end };
        assert_eq!(end, Some(StatusCode::POLICY_VIOLATION), "{name:?}");
    }
    let ben = chat.join("Ben", "general").await;
    ben.say("@JOSE\u{301}", "psst").await;
    assert_eq!(jose.receive_text().await, "psst");
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_said_once() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    let ben = chat.join("Ben", "general").await;
    for text in ["first", "again"] {
        let message = json!({ "to": "general", "text": text, "key": "k", "again": true });
        ann.emit("say", message).await;
        assert_eq!(ann.receive_text().await, "first");
    }
    assert_eq!(ben.receive_text().await, "first");
    assert!(!ben.receives_before_beat("said").await);
}

#[tokio::test]
async fn a_private_message_that_is_sent_again_is_said_once_even_if_its_sender_has_it_no_more() {
    let chat = Chat::start_with(&["--rate", "500"]);
    let ann = chat.join("Ann", "general").await;
    let ben = chat.join("Ben", "general").await;
    let mia = chat.join("Mia", "general").await;
    let message = json!({ "to": "@Ben", "text": "psst", "key": "k", "again": true });
    for _ in 0..2 {
        ann.emit("say", message.clone()).await;
        assert_eq!(ann.receive_text().await, "psst");
    }
    // As many as her history keeps.
    for number in 0..100 {
        mia.say("@Ann", &number.to_string()).await;
        assert_eq!(ann.receive_text().await, number.to_string());
    }
    ann.emit("say", message).await;
    assert_eq!(ann.receive_text().await, "psst");
    assert_eq!(ben.receive_text().await, "psst");
    assert!(!ben.receives_before_beat("said").await);
}

#[tokio::test]
async fn a_user_who_does_not_answer_is_doubtful_and_leaves() {
    let chat = Chat::start();
    let ben = chat.join("Ben", "general").await;
    let _ann = chat.join_without_pongs("Ann", "general").await;
    let mut lists = Vec::new();
    let was_doubtful = |lists: &[Value]| lists.iter().any(|list| list[2] == json!(["Ann"]));
    while lists.last() != Some(&json!(["general", ["Ben"], [], []])) || !was_doubtful(&lists) {
        lists.push(ben.receive("here").await);
    }
    lists.dedup();
    let both = json!(["Ann", "Ben"]);
    let expected = [
        json!(["general", ["Ben"], [], []]),
        json!(["general", both, [], []]),
        json!(["general", both, ["Ann"], []]),
        json!(["general", ["Ben"], [], []]),
    ];
    assert!(lists.ends_with(&expected[1..]), "{lists:?}");
}

#[tokio::test]
async fn a_user_who_is_back_soon_has_not_left() {
    let chat = Chat::start();
    let ben = chat.join("Ben", "general").await;
    let ann = chat.join("Ann", "general").await;
    let both = json!(["general", ["Ann", "Ben"], [], []]);
    while ben.receive("here").await != both {}
    in_time(ann.0.close(StatusCode::GOING_AWAY, "")).await.unwrap();
    let _mia = chat.join("Mia", "general").await;
    let three = json!(["general", ["Ann", "Ben", "Mia"], [], []]);
    assert_eq!(ben.receive("here").await, three);
    let ann = chat.join("Ann", "general").await;
    assert_eq!(ann.receive("here").await, three);
    let _leo = chat.join("Leo", "general").await;
    assert_eq!(ben.receive("here").await, json!(["general", ["Ann", "Ben", "Leo", "Mia"], [], []]));
}

#[tokio::test]
async fn a_page_is_told_why_its_handshake_is_refused() {
    let chat = Chat::start();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (page, status, text) in [
        (chat.0.url.clone(), 426, "only WebSockets here"),
        ("https://elsewhere.example".to_owned(), 403, "https://elsewhere.example"),
    ] {
        // A browser sends no `Origin` with a GET to the host of the page.
        let request = client.get(format!("{}/session", chat.0.url)).header("referer", page);
        let response = in_time(request.send()).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert!(response.text().await.unwrap().contains(text));
    }
}

#[tokio::test]
async fn a_name_is_unique_until_its_user_disconnects() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    for name in ["Ann", "ANN", " ann "] {
        let end = async { chat.enter(name).await.end().await };
        // The server pings Ann, and her connection answers while it is read.
        let end = tokio::select! { end = end => end, end = ann.end() => end };
        assert_eq!(end, Some(StatusCode::POLICY_VIOLATION), "{name}");
    }
    in_time(ann.0.close(StatusCode::GOING_AWAY, "")).await.unwrap();
    chat.join("ann", "general").await;
}

#[tokio::test]
async fn a_user_has_several_devices_and_is_away_with_all_of_them() {
    let chat = Chat::start();
    let ben = chat.join("Ben", "general").await;
    let desk = chat.enter_with("Ann", "secret").await.joined("general").await;
    let phone = chat.enter_with("Ann", "secret").await.joined("general").await;
    // The name is theirs alone.
    for (name, secret) in [("Ann", "other"), ("ANN", "secret"), ("Ann", "")] {
        let other = chat.enter_with(name, secret).await;
        let end = async { other.end().await };
        // The server pings Ann, and her connections answer while they are read.
        let end = tokio::select! {
            end = end => end,
            end = desk.end() => end,
            end = phone.end() => end,
        };
        assert_eq!(end, Some(StatusCode::POLICY_VIOLATION));
    }
    for to in ["@Ann", "general"] {
        ben.say(to, "hello").await;
        assert_eq!(desk.receive_text().await, "hello");
        assert_eq!(phone.receive_text().await, "hello");
    }
    let both = json!(["Ann", "Ben"]);
    let away = |names: &[&str]| json!(["general", both, [], names]);
    while ben.receive("here").await != away(&[]) {}
    desk.emit("away", json!(true)).await;
    phone.emit("away", json!(true)).await;
    assert_eq!(ben.receive("here").await, away(&["Ann"]));
    desk.emit("away", json!(false)).await;
    assert_eq!(ben.receive("here").await, away(&[]));
    // The other device is away still.
    in_time(desk.0.close(StatusCode::GOING_AWAY, "")).await.unwrap();
    assert_eq!(ben.receive("here").await, away(&["Ann"]));
    in_time(phone.0.close(StatusCode::GOING_AWAY, "")).await.unwrap();
    assert_eq!(ben.receive("here").await, json!(["general", ["Ben"], [], []]));
    chat.join("Ann", "general").await;
}

#[tokio::test]
async fn a_user_who_does_not_answer_pings_loses_the_name() {
    let chat = Chat::start();
    let lost = chat.join_without_pongs("Ann", "general").await;
    let ben = chat.join("Ben", "general").await;
    let back = chat.join("Ann", "general").await;
    ben.say("@Ann", "there you are").await;
    assert_eq!(back.receive_text().await, "there you are");
    assert_eq!(lost.end().await, Some(StatusCode::ABNORMAL_CLOSURE));
}

#[tokio::test]
async fn only_members_of_a_room_send_and_receive() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    let ben = chat.join("Ben", "random").await;
    ben.say("general", "from outside").await;
    ben.emit("typing", json!("general")).await;
    assert!(!ben.receives_before_beat("said").await);
    ann.say("general", "from inside").await;
    let (event, said) = ann.next(&["said", "typing"]).await;
    assert_eq!((&*event, &said["text"]), ("said", &json!("from inside")));
    assert!(!ben.receives_before_beat("said").await);
    ann.emit("leave", json!("general")).await;
    ann.say("general", "from outside").await;
    assert!(!ann.receives_before_beat("said").await);
}

#[tokio::test]
async fn private_messages_reach_one_user_or_are_absent() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    let ben = chat.join("Ben", "general").await;
    let mia = chat.join("Mia", "general").await;
    ann.say("@ben", "psst").await;
    for page in [&ann, &ben] {
        assert_eq!(page.receive_text().await, "psst");
    }
    assert!(!mia.receives_before_beat("said").await);
    let key = ann.say("@nobody", "hello?").await;
    assert_eq!(ann.receive("absent").await, json!(key));
}

#[tokio::test]
async fn a_message_that_is_not_said_is_answered_with_the_reason() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    let longest = "ü".repeat(2_000);
    let (key, name) = ("k".repeat(40), "n".repeat(24));
    let text_fault = Some("a message has 1 to 2000 characters");
    let key_fault = Some("the key of a message has at most 40 characters");
    let name_fault = Some("a name has at most 24 characters");
    for (to, text, key, fault) in [
        ("general", longest.as_str(), "a", None),
        ("general", &format!("{longest}ü"), "b", text_fault),
        ("general", "", "c", text_fault),
        ("general", " \n ", "d", text_fault),
        ("general", " trimmed ", "e", None),
        ("general", "x", &key, None),
        ("general", "x", &format!("{key}k"), key_fault),
        ("random", "x", "f", Some("you are not in this room")),
        ("", "x", "g", Some("you are not in this room")),
        (&format!("@{name}n"), "x", "h", name_fault),
    ] {
        ann.emit("say", json!({ "to": to, "text": text, "key": key })).await;
        let answer = ann.next(&["said", "rejected"]).await;
        match fault {
            Some(why) => assert_eq!(answer, ("rejected".to_owned(), json!([key, why]))),
            None => assert_eq!((&*answer.0, &answer.1["key"]), ("said", &json!(key))),
        }
    }
    ann.emit("say", json!({ "to": format!("@{name}"), "text": "x", "key": "i" })).await;
    assert_eq!(ann.next(&["absent", "rejected"]).await, ("absent".to_owned(), json!("i")));
}

#[tokio::test]
async fn invalid_messages_close_the_connection() {
    let chat = Chat::start();
    for (text, code) in [
        ("hello".to_owned(), StatusCode::POLICY_VIOLATION),
        (r#"{"event":"say","data":7}"#.to_owned(), StatusCode::POLICY_VIOLATION),
        ("x".repeat(16 * 1024 + 1), StatusCode::MESSAGE_TOO_BIG),
    ] {
        let page = chat.join("Ann", "general").await;
        in_time(page.0.write(text)).await.unwrap();
        assert_eq!(page.end().await, Some(code));
    }
}

#[tokio::test]
async fn a_room_keeps_its_last_hundred_messages() {
    let chat = Chat::start();
    for speaker in 0..11 {
        let page = chat.join(&format!("Speaker {speaker}"), "general").await;
        for word in 0..10 {
            page.say("general", &format!("{speaker} {word}")).await;
            page.receive("said").await;
        }
    }
    let page = chat.enter("Ann").await;
    page.emit("join", json!({ "room": "general" })).await;
    let history = page.receive("history").await;
    let texts: Vec<_> = history[1].as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!((texts.len(), texts[0], texts[99]), (100, &json!("1 0"), &json!("10 9")));
}

/// A session, as the page has it.
#[derive(Default)]
struct Session {
    token: Value,
    at: Value,
}

impl Session {
    /// Connects a user with the session. Returns whether it was recovered.
    async fn enter(&mut self, dial: Dial) -> (Page, bool) {
        let page = Page(in_time(dial.connect()).await.unwrap());
        let welcome = self.greet(&page).await;
        (page, welcome)
    }

    async fn greet(&mut self, page: &Page) -> bool {
        let hello = json!({ "resume": self.token, "at": self.at }).to_string();
        in_time(page.0.write(hello)).await.unwrap();
        let welcome: Value = in_time(page.0.read()).await.unwrap().json().unwrap();
        self.token = welcome["session"].clone();
        welcome["recovered"] == true
    }

    /// The texts of the next messages that are said, in order.
    async fn read(&mut self, page: &Page, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let message: Value = in_time(page.0.read()).await.unwrap().json().unwrap();
            if message["at"].is_string() {
                self.at = message["at"].clone();
            }
            if message["event"] == "said" {
                texts.push(message["data"]["text"].as_str().unwrap().to_owned());
            }
        }
        texts
    }
}

/// How the connection of a user is lost, while the user is in a room and has a private conversation.
async fn check_recovery(is_silent: bool) {
    let chat = Chat::start_with(&["--rate", "200"]);
    let ben = chat.join("Ben", "general").await;
    let mut session = Session::default();
    let (io, sending) = chat.relay().await;
    let dial = chat.0.dial("/session?name=Ann");
    let ann = Page(in_time(dial.connect_over(io)).await.unwrap());
    assert!(!session.greet(&ann).await);
    let ann = ann.joined("general").await;
    while ben.receive("here").await != json!(["general", ["Ann", "Ben"], [], []]) {}
    for (to, text) in [("general", "one"), ("@Ann", "two")] {
        ben.say(to, text).await;
        assert_eq!(session.read(&ann, 1).await, [text]);
    }
    if is_silent {
        sending.abort();
    } else {
        ann.0.close_now();
    }
    // To a connection that is lost, whether the server knows it or not.
    ben.say("general", "three").await;
    ben.say("general", "four").await;
    while ben.receive_text().await != "four" {}
    let (ann, recovered) = session.enter(chat.0.dial("/session?name=Ann")).await;
    assert!(recovered);
    assert_eq!(session.read(&ann, 2).await, ["three", "four"]);
    assert_eq!(ann.receive("here").await[1], json!(["Ann", "Ben"]));
    // It is in its room, and gets private messages.
    ann.say("general", "five").await;
    while ben.receive_text().await != "five" {}
    ben.say("@Ann", "six").await;
    assert_eq!(session.read(&ann, 2).await, ["five", "six"]);
}

#[tokio::test]
async fn a_user_whose_connection_is_cut_gets_what_was_said_meanwhile() {
    check_recovery(false).await;
}

#[tokio::test]
async fn a_user_whose_connection_was_silent_gets_what_was_said_meanwhile() {
    check_recovery(true).await;
}

#[tokio::test]
async fn the_session_of_one_user_is_worth_nothing_under_another_name() {
    let chat = Chat::start();
    let mut session = Session::default();
    let (ann, _) = session.enter(chat.0.dial("/session?name=Ann")).await;
    ann.0.close_now();
    let (_ben, recovered) = session.enter(chat.0.dial("/session?name=Ben")).await;
    assert!(!recovered);
}

#[tokio::test]
async fn the_rate_limit_delays_only_the_fast_user() {
    let chat = Chat::start();
    let ann = chat.join("Ann", "general").await;
    let ben = chat.join("Ben", "general").await;
    for number in 0..200 {
        ann.say("general", &number.to_string()).await;
    }
    ben.say("general", "may I?").await;
    let mut received = Vec::new();
    while received.last().is_none_or(|text| text != "may I?") {
        received.push(ben.receive_text().await);
    }
    // At four per second, Ann's messages take almost a minute.
    assert!(received.len() < 200, "{received:?}");
    received.pop();
    assert!(received.iter().enumerate().all(|(at, text)| *text == at.to_string()), "{received:?}");
}

#[tokio::test]
async fn the_number_of_rooms_is_limited() {
    let chat = Chat::start();
    let mut pages = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let page = chat.enter(name).await;
        for room in 0..10 {
            page.emit("join", json!({ "room": format!("{name}-{room}") })).await;
            page.receive("history").await;
        }
        page.emit("join", json!({ "room": "eleventh" })).await;
        assert_eq!(page.receive("full").await, json!("eleventh"));
        pages.push(page);
    }
    let late = chat.enter("late").await;
    let request = json!({ "room": "one-more" });
    late.emit("join", request.clone()).await;
    assert_eq!(late.receive("full").await, json!("one-more"));
    // An empty room is replaced.
    pages[0].emit("leave", json!("a-0")).await;
    while late.receive("rooms").await.as_array().unwrap().iter().all(|room| room[1] != 0) {}
    late.emit("join", request).await;
    late.receive("history").await;
}

/// The command that runs the scenes of `chat.mjs`.
fn scenes(arg: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chat.mjs")).arg(arg);
    command.stdin(Stdio::null());
    command
}

#[tokio::test]
async fn the_page_works_in_a_browser() {
    let found = scenes("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip(
            "chromium with `playwright-core` is missing: npm ci in ws-client/tests/peers, and your \
             distribution's chromium",
        );
    }
    let chat = Chat::start_with(&["--rate", "200"]);
    let playing = tokio::process::Command::from(scenes(&chat.0.url)).kill_on_drop(true).output();
    let played = tokio::time::timeout(Duration::from_secs(240), playing).await.unwrap().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
}

/// A broker on a free port, and its URL. `None` if it is not installed.
fn broker(program: &str) -> Option<(Running, String)> {
    let port = free_port();
    let mut command = Command::new(program);
    let url = match program {
        "nats-server" => {
            command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
            format!("nats://127.0.0.1:{port}")
        }
        _ => {
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
            format!("redis://127.0.0.1:{port}")
        }
    };
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skip(&format!("{program} is not installed"));
        return None;
    };
    Some((Running(child), url))
}

#[tokio::test]
async fn several_processes_act_as_one_over_redis() {
    check_processes("redis-server").await;
}

#[tokio::test]
async fn several_processes_act_as_one_over_nats() {
    check_processes("nats-server").await;
}

#[tokio::test]
async fn the_pages_are_back_after_a_process_is_killed() {
    let found = scenes("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip("chromium with `playwright-core` is missing: see CONTRIBUTING.md");
    }
    let Some((_broker, broker)) = broker("redis-server") else { return };
    let start = || Chat::start_with(&["--broker", &broker]);
    let (one, two) = (start(), start());
    let Some((_nginx, url)) = nginx(&[one.0.address(), two.0.address()]) else { return };
    let mut pages = tokio::process::Command::new("node");
    pages.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chat_cluster.mjs")).arg(url);
    pages.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut pages = pages.spawn().unwrap();
    let mut output = BufReader::new(pages.stdout.take().unwrap());
    let mut line = String::new();
    let reading = output.read_line(&mut line);
    tokio::time::timeout(Duration::from_secs(120), reading).await.unwrap().unwrap();
    assert_eq!(line, "talking\n");
    drop(two);
    pages.stdin.take().unwrap().write_all(b"killed\n").await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(120), pages.wait()).await;
    assert!(status.unwrap().unwrap().success());
}

/// A load balancer for these addresses, and its URL. `None` if it is not installed.
fn nginx(servers: &[&str]) -> Option<(Running, String)> {
    let port = free_port();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chat-nginx-{port}"));
    std::fs::create_dir_all(&folder).unwrap();
    let servers: String = servers.iter().map(|it| format!("server {it}; ")).collect();
    let config = format!(
        "pid nginx.pid; error_log stderr; daemon off; master_process off; events {{}} http {{ access_log off; \
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
         uwsgi_temp_path uwsgi; scgi_temp_path scgi; upstream chat {{ {servers} }} \
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://chat; \
         proxy_http_version 1.1; proxy_set_header Host $http_host; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        skip("nginx is not installed");
        return None;
    };
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    Some((Running(child), format!("http://127.0.0.1:{port}/")))
}

/// Two processes, one of which is killed, and a third.
async fn check_processes(program: &str) {
    let Some((_broker, url)) = broker(program) else { return };
    let start = || Chat::start_with(&["--broker", &url]);
    let (one, two) = (start(), start());
    let (ann, bob) = (one.join("Ann", "general").await, two.join("Bob", "general").await);
    let both = json!(["general", ["Ann", "Bob"], [], []]);
    while ann.receive("here").await != both {}
    while bob.receive("here").await != both {}
    // A message to the room, one to a user, and a name that is used.
    ann.say("general", "hello").await;
    assert_eq!(bob.receive_text().await, "hello");
    bob.say("@Ann", "psst").await;
    assert_eq!(ann.receive_text().await, "hello");
    assert_eq!(ann.receive_text().await, "psst");
    assert_eq!(two.enter("Ann").await.end().await, Some(StatusCode::POLICY_VIOLATION));
    bob.say("@Cid", "absent").await;
    bob.receive("absent").await;

    drop(two);
    bob.end().await;
    while ann.receive("here").await != json!(["general", ["Ann"], [], []]) {}
    let bob = one.enter("Bob").await;
    bob.emit("join", json!({ "room": "general" })).await;
    assert_eq!(bob.receive("history").await[1][0]["text"], "hello");
    while ann.receive("here").await != both {}
    bob.say("general", "again").await;
    assert_eq!(ann.receive_text().await, "again");
    // Another process takes the place of the one that was killed.
    let two = start();
    let cid = two.enter("Cid").await;
    cid.emit("join", json!({ "room": "general" })).await;
    let history = cid.receive("history").await;
    if program == "redis-server" {
        // Whatever has happened to the processes.
        let texts: Vec<_> = history[1].as_array().unwrap().iter().map(|it| &it["text"]).collect();
        assert_eq!(texts, ["hello", "again"]);
    }
    while ann.receive("here").await != json!(["general", ["Ann", "Bob", "Cid"], [], []]) {}
    cid.say("general", "hi").await;
    assert_eq!(ann.receive_text().await, "hi");
}

#[tokio::test]
async fn the_page_in_rust_works_in_a_browser() {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/../wasm-pages");
    let is_built = std::path::Path::new(folder).join("chat_page.js").exists();
    let found = scenes("--version").output();
    if !is_built || !found.is_ok_and(|output| output.status.success()) {
        return skip("the page in Rust, or chromium, is missing: cargo xtask wasm --no-test");
    }
    let chat = Chat::start_with(&["--rate", "200", "--wasm", folder]);
    let mut command = tokio::process::Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chat_page.mjs")).arg(&chat.0.url);
    let playing = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let played = tokio::time::timeout(Duration::from_secs(240), playing).await.unwrap().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
}
