//! Do the official clients get their sessions back?
//!
//! The clients are in `tests/peers`. Without them the tests are skipped, and fail if
//! `WS_REQUIRE_PEERS` is 1.

use std::time::Duration;

use crate::support::{Framework, Server, client, within};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use ws_events::{ConnectRejection, History, Hub, Recovery, Socket};
use ws_events_socketio::SocketIo;

const COUNT: u32 = 60;

/// A hub whose new sockets join a room.
fn hub(with_middleware: bool) -> Hub {
    let hub = Hub::builder().history("room", History::new()).recovery(Recovery::new()).build();
    if with_middleware {
        hub.middleware(async |_: Socket| Ok::<_, ConnectRejection>(()));
    }
    hub.on_connect(
        async |socket: Socket| {
            if socket.recovered() { Ok(()) } else { socket.join("room") }
        },
    );
    hub
}

/// Sends numbers to the room.
async fn send_numbers(hub: Hub) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u32.. {
        ticks.tick().await;
        hub.to("room").emit("n", &number).unwrap();
    }
}

async fn check(transports: &str, with_middleware: bool, encoding: &str) {
    let hub = hub(with_middleware);
    let server = Server::start(Framework::Hyper, SocketIo::new(&hub)).await;
    let url = format!("http://{}", server.addr);
    let arguments = [url, transports.to_owned(), COUNT.to_string(), encoding.to_owned()];
    let report = tokio::select! {
        report = within(client("node", "recover.mjs", &arguments)) => report,
        () = send_numbers(hub.clone()) => None,
    };
    let Some(report) = report else { return };
    let numbers: Vec<_> =
        report["numbers"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    let first = numbers[0];
    assert!(numbers.iter().copied().eq(first..first + u64::from(COUNT)), "{transports}: {report}");
    assert_eq!(report["ids"], json!(1), "{transports}: {report}");
    assert_eq!(report["offsets"], json!(true), "{transports}: {report}");
    let recovered = report["recovered"].as_array().unwrap();
    assert!(recovered.len() >= 3, "{transports}: {report}");
    assert!(recovered.iter().enumerate().all(|(at, it)| *it == json!(at > 0)), "{report}");
}

#[tokio::test]
async fn the_official_client_is_recovered_and_gets_every_message_once_and_in_order() {
    check(r#"["websocket"]"#, false, "text").await;
    check(r#"["websocket"]"#, true, "text").await;
    check(r#"["polling"]"#, false, "text").await;
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn the_official_client_with_msgpack_is_recovered_by_the_last_argument_of_an_event() {
    check(r#"["websocket"]"#, true, "msgpack").await;
    check(r#"["polling"]"#, false, "msgpack").await;
}
