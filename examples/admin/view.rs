//! What do operators see of a hub, and what can they do?

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval, timeout};
use ws_events::{
    EmitError, EncodeError, Hub, HubSnapshot, Id, Json, Socket, SocketRates, SocketSnapshot, State,
    StatusCode,
};

/// How many sockets and rooms are shown.
const SHOWN: usize = 200;

/// How often the operators get a view.
const PERIOD: Duration = Duration::from_secs(1);

/// The hub that is watched.
struct Watched(Hub);

/// A snapshot with rates.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    snapshot: &'a HubSnapshot,
    rates: HashMap<&'a Id, SocketRates>,
}

#[derive(Deserialize)]
struct Disconnect {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct Tell {
    id: String,
    text: String,
}

/// The hub of the operators.
pub(crate) fn operators(hub: Hub) -> Hub {
    let operators = Hub::builder().envelope().state(Watched(hub.clone())).build();
    operators.on("disconnect-socket", disconnect);
    operators.on("tell", tell);
    tokio::spawn(publish(hub, operators.clone()));
    operators
}

async fn disconnect(
    operator: Socket,
    State(watched): State<Watched>,
    Json(asked): Json<Disconnect>,
) -> Result<(), EmitError> {
    let found = watched.0.socket(&asked.id);
    let outcome =
        match found.map(|socket| socket.close(StatusCode::POLICY_VIOLATION, &asked.reason)) {
            Some(Ok(())) => format!("{} is disconnected", asked.id),
            Some(Err(error)) => error.to_string(),
            None => format!("{} has gone", asked.id),
        };
    operator.emit("outcome", &outcome)
}

async fn tell(
    operator: Socket,
    State(watched): State<Watched>,
    Json(asked): Json<Tell>,
) -> Result<(), EmitError> {
    let outcome = match watched.0.emit_to(&asked.id, "notice", &asked.text) {
        Ok(()) => format!("{} has the message in its queue", asked.id),
        Err(error) => error.to_string(),
    };
    operator.emit("outcome", &outcome)
}

/// Sends a view to the operators once per second, while there are any.
async fn publish(hub: Hub, operators: Hub) -> Result<(), EncodeError> {
    let mut ticks = interval(PERIOD);
    let mut before: HashMap<Id, SocketSnapshot> = HashMap::new();
    let mut taken = Instant::now();
    loop {
        ticks.tick().await;
        if operators.is_empty() {
            continue;
        }
        // The latest round-trip times, for the next view.
        for socket in hub.everyone().sockets().into_iter().take(SHOWN) {
            if let Some(conn) = socket.conn() {
                tokio::spawn(async move { timeout(PERIOD, conn.ping()).await });
            }
        }
        let snapshot = HubSnapshot::of(&hub, SHOWN);
        let elapsed = taken.elapsed();
        taken = Instant::now();
        let rates = snapshot.sockets.iter().filter_map(|socket| {
            Some((&socket.id, socket.rates_since(before.get(&socket.id)?, elapsed)))
        });
        operators
            .everyone()
            .volatile()
            .emit("view", &View { snapshot: &snapshot, rates: rates.collect() })?;
        before = snapshot.sockets.into_iter().map(|socket| (socket.id.clone(), socket)).collect();
    }
}
