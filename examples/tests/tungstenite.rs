//! Does code for tokio-tungstenite run on `ws-core` with only the connecting line changed?

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[path = "tungstenite/client_after.rs"]
mod client_after;
#[path = "tungstenite/client_before.rs"]
mod client_before;
#[path = "tungstenite/server_after.rs"]
mod server_after;
#[path = "tungstenite/server_before.rs"]
mod server_before;

const CLIENT: [&str; 2] =
    [include_str!("tungstenite/client_before.rs"), include_str!("tungstenite/client_after.rs")];
const SERVER: [&str; 2] =
    [include_str!("tungstenite/server_before.rs"), include_str!("tungstenite/server_after.rs")];

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

/// Starts the server before or after the change, and returns its URL.
async fn serve(after: bool) -> (String, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = if after {
        tokio::spawn(server_after::server(listener))
    } else {
        tokio::spawn(server_before::server(listener))
    };
    (url, server)
}

#[tokio::test]
async fn both_clients_receive_the_same_from_both_servers() {
    for after in [false, true] {
        let (url, server) = serve(after).await;
        let before = in_time(client_before::client(url.clone())).await.unwrap();
        let moved = in_time(client_after::client(url)).await.unwrap();
        for received in [&before, &moved] {
            assert!(received.contains(&Message::text("hello")), "{received:?}");
            assert!(received.contains(&Message::Pong("are you there?".into())), "{received:?}");
            assert!(received.contains(&Message::binary(vec![7; 100_000])));
            let close = received.last().unwrap();
            let Message::Close(Some(close)) = close else { panic!("{close:?}") };
            assert_eq!(close.code, CloseCode::Normal);
        }
        server.abort();
    }
}

/// The number of lines that only one of the two has.
fn changed([before, after]: [&str; 2]) -> [usize; 2] {
    let only = |one, other| code(one).filter(|line| !code(other).any(|it| it == *line)).count();
    [only(before, after), only(after, before)]
}

/// The code without imports.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("use ") && !line.starts_with("//!"))
}

#[test]
fn only_the_connecting_line_differs() {
    assert_eq!(changed(CLIENT), [1, 1]);
    assert_eq!(changed(SERVER), [1, 2]);
}

#[test]
fn the_diffs_of_the_guide_match_the_tested_code() {
    let guide = include_str!("../../ws-core/FROM_TUNGSTENITE.md");
    let mut shown = 0;
    for (at, fence) in guide.split("```").enumerate() {
        let Some(diff) = fence.strip_prefix("diff\n").filter(|_| at % 2 == 1) else { continue };
        let [before, after] = if diff.contains("fn chat") { SERVER } else { CLIENT };
        for line in diff.lines() {
            let is_in = |text: &str, line: &str| text.lines().any(|other| other == line);
            let known = match line.split_at_checked(1) {
                Some(("-", line)) => is_in(before, line) && !is_in(after, line),
                Some(("+", line)) => is_in(after, line) && !is_in(before, line),
                Some((" ", line)) => is_in(before, line) && is_in(after, line),
                _ => line.is_empty(),
            };
            assert!(known, "{line}");
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
}
