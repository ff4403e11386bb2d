//! How do login, a hub, limits and a reverse proxy fit together in one service?
//!
//! The proxy ends TLS, and sets `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`: the
//! chapter "Reverse proxies" of the book has the settings of nginx, HAProxy and Caddy.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use clap::Parser;
use examples::Listen;
use parking_lot::Mutex;
use ws_events::{ConnectRejection, EmitError, Hub, Json, Socket};
use ws_server_axum::{
    AcceptOptions, Config, ConnectionLimits, Limits, TrustedProxies, serve_until, shutdown_signal,
    websocket,
};

/// Users log in by `POST /login` with their name as the body, and share a room at `/ws`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// A network of reverse proxies, whose `X-Forwarded-…` headers are believed; may be repeated.
    #[arg(long, value_name = "NETWORK", default_value = "127.0.0.1")]
    proxy: Vec<String>,
}

/// The user of a session.
#[derive(Clone)]
struct User(String);

/// The sessions by the token in their cookie. A real application bounds their number and age.
type Sessions = Arc<Mutex<HashMap<String, User>>>;

/// A real application checks a password here.
async fn login(State(sessions): State<Sessions>, name: String) -> Response {
    if name.is_empty() || name.len() > 32 || name.contains(|it: char| it.is_control()) {
        return (StatusCode::BAD_REQUEST, "a name has 1 to 32 bytes").into_response();
    }
    let token = format!("{:032x}", rand::random::<u128>());
    // Browsers send the cookie over TLS only, hide it from scripts, and do not send it with requests
    // of other sites.
    let cookie = format!("session={token}; Path=/; Secure; HttpOnly; SameSite=Lax");
    sessions.lock().insert(token, User(name));
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn user_of(headers: &HeaderMap, sessions: &Sessions) -> Option<User> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).map(str::trim);
    let token = cookies.find_map(|cookie| cookie.strip_prefix("session="))?;
    sessions.lock().get(token).cloned()
}

/// Refuses requests without a session, before the upgrade, and attaches the user to others.
async fn require_login(
    State(sessions): State<Sessions>,
    mut request: Request,
    next: Next,
) -> Response {
    match user_of(request.headers(), &sessions) {
        Some(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        None => (StatusCode::UNAUTHORIZED, "log in first").into_response(),
    }
}

fn hub() -> Hub {
    let hub = Hub::builder().envelope().build();
    hub.middleware(async |socket: Socket| {
        let request = socket.request();
        let user = request.as_deref().and_then(|it| it.extension::<User>().cloned());
        let user = user.ok_or_else(|| ConnectRejection::new("log in first"))?;
        socket.attributes().insert(user);
        Ok::<_, ConnectRejection>(())
    });
    hub.on_connect(async |socket: Socket| socket.join("lobby"));
    hub.on("say", async |socket: Socket, Json(text): Json<String>| -> Result<(), EmitError> {
        let user = socket.attributes().get::<User>();
        let name = user.map_or_else(String::new, |User(name)| name);
        socket.hub().to("lobby").emit("said", &(name, text))?;
        Ok(())
    });
    hub
}

/// Limits by address need the address of the client, so they need [`TrustedProxies`].
fn options(proxies: &[String]) -> anyhow::Result<AcceptOptions> {
    let limits = ConnectionLimits::new()
        .connections(10_000)
        .per_address(50)
        .handshakes_per_second(10)
        .per_key(3, |request| request.extensions().get().map(|User(name)| name.clone()));
    let config =
        Config::new().limits(Limits::new().message_size(16 * 1024).messages_per_second(20));
    let proxies = TrustedProxies::new(proxies)?;
    Ok(AcceptOptions::new().config(config).limits(&limits).trusted_proxies(proxies))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (hub, sessions) = (hub(), Sessions::default());
    let app = Router::new()
        .route("/ws", websocket(options(&args.proxy)?, hub.handler()))
        .route_layer(from_fn_with_state(Arc::clone(&sessions), require_login))
        .route("/login", post(login).with_state(sessions));
    let listener = args.listen.bind().await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async move {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(10)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
