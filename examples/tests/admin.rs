//! Does the admin example keep others out, and does its page show and do what it says?

use std::io::BufRead as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use ws_client::{Conn, Dial, DialError, StatusCode};

use crate::program::{Example, in_time, skip};

/// The running example, with what it prints for the operator.
struct Running {
    server: Example,
    /// Host and port of the page.
    host: String,
    token: String,
}

impl Running {
    fn start() -> Self {
        let limit = Duration::from_secs(300);
        let mut server =
            Example::start_for("admin", &["--listen=127.0.0.1:0", "--admin-port=0"], limit);
        let mut line = String::new();
        server.output.read_line(&mut line).unwrap();
        let page = line.trim().strip_prefix("admin page: http://").unwrap();
        let (host, token) = page.split_once("/#").unwrap();
        Self { host: host.to_owned(), token: token.to_owned(), server }
    }

    /// The status and the cookie of a login.
    async fn login(&self, host: &str, origin: Option<&str>, token: &str) -> (u16, Option<String>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{}/login", self.host)).header("host", host);
        let request = match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        let response = in_time(request.body(token.to_owned()).send()).await.unwrap();
        let cookie = response.headers().get("set-cookie").map(|it| it.to_str().unwrap().to_owned());
        (response.status().as_u16(), cookie)
    }

    /// The cookie of an operator who has logged in.
    async fn cookie(&self) -> String {
        let origin = format!("http://{}", self.host);
        let (status, cookie) = self.login(&self.host, Some(&origin), &self.token).await;
        assert_eq!(status, 200);
        let cookie = cookie.unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn live(&self, origin: &str, cookie: &str) -> Result<Conn, DialError> {
        let dial = Dial::new(format!("ws://{}/live", self.host));
        in_time(dial.origin(origin).header("cookie", cookie).connect()).await
    }
}

/// The data of the next event with this name that has what is looked for.
async fn next<T>(conn: &Conn, event: &str, find: impl Fn(&Value) -> Option<T>) -> T {
    loop {
        let message = in_time(conn.read()).await.unwrap();
        let value: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        if value["event"] == event
            && let Some(found) = find(&value["data"])
        {
            return found;
        }
    }
}

async fn emit(conn: &Conn, event: &str, data: Value) {
    in_time(conn.write(json!({ "event": event, "data": data }).to_string())).await.unwrap();
}

#[tokio::test]
async fn only_the_page_of_an_operator_who_knows_the_token_gets_in() {
    let running = Running::start();
    let own = format!("http://{}", running.host);
    let evil = "http://evil.example";
    for (host, origin, token, expected) in [
        (&*running.host, Some(&*own), "guessed", 401),
        (&running.host, Some(&own), "", 401),
        (&running.host, Some(evil), &running.token, 403),
        (&running.host, None, &running.token, 403),
        // A page whose name an attacker resolves to 127.0.0.1.
        ("evil.example", Some(evil), &running.token, 403),
        (&running.host, Some(&own), &running.token, 200),
    ] {
        let (status, cookie) = running.login(host, origin, token).await;
        assert_eq!(status, expected, "{host} {origin:?} {token}");
        assert_eq!(cookie.is_some(), expected == 200);
    }
    let cookie = running.cookie().await;
    for (origin, cookie, expected) in
        [(evil, &*cookie, 403), (&*own, "admin=guessed", 401), (&own, "other=1", 401)]
    {
        let Err(DialError::Refused(refused)) = running.live(origin, cookie).await else {
            panic!("{origin} {cookie} gets in");
        };
        assert_eq!(refused.status.as_u16(), expected, "{origin} {cookie}");
    }
    running.live(&own, &cookie).await.unwrap();
    // The public port has no page.
    let public = Dial::new(format!("{}/live", running.server.url)).connect();
    assert!(matches!(in_time(public).await, Err(DialError::Refused(_))));
}

#[tokio::test]
async fn an_operator_sees_sockets_and_rates_and_can_message_and_disconnect_one() {
    let running = Running::start();
    let own = format!("http://{}", running.host);
    let operator = running.live(&own, &running.cookie().await).await.unwrap();
    let user = in_time(running.server.dial("/ws?room=%3Cb%3E").connect()).await.unwrap();
    let talking = {
        let user = user.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                ticks.tick().await;
                let said = r#"{"event":"say","data":"hello"}"#;
                if user.write(said).await.is_err() {
                    return;
                }
            }
        })
    };
    let reading = {
        let user = user.clone();
        tokio::spawn(async move {
            let mut read = Vec::new();
            while let Ok(message) = user.read().await {
                read.push(message.as_text().unwrap().to_owned());
            }
            read
        })
    };
    let id = next(&operator, "view", |view| {
        let socket = view["sockets"].get(0)?;
        let id = socket["id"].as_str()?;
        let is_busy = view["rates"][id]["messages_in"].as_f64()? > 1.0 && socket["rtt"].is_f64();
        (is_busy && view["rooms"] == json!([{ "name": "<b>", "sockets": 1 }]))
            .then(|| id.to_owned())
    })
    .await;
    let outcome = async |expected: &str| {
        next(&operator, "outcome", |said| said.as_str()?.contains(expected).then_some(())).await;
    };
    emit(&operator, "tell", json!({ "id": id, "text": "a <notice>" })).await;
    outcome("has the message").await;
    let long = "x".repeat(200);
    emit(&operator, "disconnect-socket", json!({ "id": id, "reason": long })).await;
    outcome("reason").await;
    emit(&operator, "disconnect-socket", json!({ "id": id, "reason": "no shouting" })).await;
    outcome("is disconnected").await;
    let read = in_time(reading).await.unwrap();
    assert!(read.contains(&r#"{"event":"notice","data":"a <notice>"}"#.to_owned()), "{read:?}");
    talking.await.unwrap();
    let received = user.close_info().unwrap().received.unwrap();
    assert_eq!((received.code, &*received.reason), (StatusCode::POLICY_VIOLATION, "no shouting"));
    emit(&operator, "tell", json!({ "id": id, "text": "late" })).await;
    outcome(&id).await;
    next(&operator, "view", |view| (view["sockets"] == json!([])).then_some(())).await;
}

/// The command that runs the scenes of `admin.mjs`.
fn scenes(args: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/admin.mjs")).args(args);
    command.stdin(Stdio::null());
    command
}

#[tokio::test]
async fn the_page_works_in_a_browser() {
    let found = scenes(&["--version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip(
            "chromium with `playwright-core` is missing: npm ci in ws-client/tests/peers, and your \
             distribution's chromium",
        );
    }
    let running = Running::start();
    let page = format!("http://{}/", running.host);
    let scenes = scenes(&[&page, &running.token, &running.server.url]);
    let playing = tokio::process::Command::from(scenes).kill_on_drop(true).output();
    let played = tokio::time::timeout(Duration::from_secs(240), playing).await.unwrap().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
}
