//! Who may see the page for operators, and who may act?
//!
//! A browser sends requests to 127.0.0.1 for any page that is open in it. So the token is not enough:
//! the server checks the `Host` of each request (a name that an attacker resolves to 127.0.0.1), and the
//! `Origin` of the two that do something: the login, and the WebSocket of the actions.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use ws_events::Hub;
use ws_server_axum::{AcceptOptions, Config, Limits, WebSocketUpgrade};

use crate::view;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, content type and text.
const PAGE: [(&str, &str, &str); 3] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/admin.css", CSS, include_str!("page/admin.css")),
    ("/admin.js", JS, include_str!("page/admin.js")),
];

/// Allows no scripts but that of the page, in case a name of a peer is ever rendered as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page for the operators of a hub.
#[derive(Clone)]
pub(crate) struct Admin(Arc<AdminState>);

struct AdminState {
    /// The hub of the operators.
    operators: Hub,
    /// What an operator has to know.
    token: String,
    /// What the browser of an operator sends after the login.
    session: String,
    addr: SocketAddr,
}

impl Admin {
    /// A page for this hub, with a token of its own.
    pub(crate) fn new(hub: Hub, addr: SocketAddr) -> Self {
        let secret = || format!("{:032x}", rand::random::<u128>());
        let state = AdminState {
            operators: view::operators(hub),
            token: secret(),
            session: secret(),
            addr,
        };
        Self(Arc::new(state))
    }

    pub(crate) fn token(&self) -> &str {
        &self.0.token
    }

    pub(crate) async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let mut app = Router::new().route("/login", post(login)).route("/live", any(live));
        for (path, kind, text) in PAGE {
            let headers = [
                (CONTENT_TYPE, kind),
                (CONTENT_SECURITY_POLICY, POLICY),
                (CACHE_CONTROL, "no-cache"),
            ];
            app = app.route(path, get((headers, text)));
        }
        let app = app.layer(from_fn_with_state(self.clone(), check_host)).with_state(self);
        ws_server_axum::serve(listener, app).await
    }

    /// Whether the request comes from a browser that has logged in.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut cookies = cookies.flat_map(|cookies| cookies.split("; "));
        cookies.any(|cookie| {
            cookie.strip_prefix("admin=").is_some_and(|it| is_equal(it, &self.0.session))
        })
    }
}

/// Refuses requests to another name: a page of an attacker may resolve its own name to 127.0.0.1.
async fn check_host(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let (addr, host) = (admin.0.addr, request.headers().get(HOST));
    let is_ours =
        |host: &str| host == addr.to_string() || host == format!("localhost:{}", addr.port());
    match host.and_then(|host| host.to_str().ok()).is_some_and(is_ours) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "this is another host").into_response(),
    }
}

/// Exchanges the token for a cookie, which the browser sends with the WebSocket.
async fn login(State(admin): State<Admin>, headers: HeaderMap, token: String) -> Response {
    let text = |name| headers.get(&name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    if origin.is_none() || origin != text(HOST) {
        return (StatusCode::FORBIDDEN, "this is another origin").into_response();
    }
    if !is_equal(&token, &admin.0.token) {
        return (StatusCode::UNAUTHORIZED, "this is not the token").into_response();
    }
    let session = &admin.0.session;
    let cookie = format!("admin={session}; Path=/; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], "welcome").into_response()
}

/// The WebSocket of the page. The library refuses pages of other origins.
async fn live(State(admin): State<Admin>, headers: HeaderMap, ws: WebSocketUpgrade) -> Response {
    if !admin.knows(&headers) {
        return (StatusCode::UNAUTHORIZED, "log in first").into_response();
    }
    let config = Config::new().limits(Limits::new().message_size(64 * 1024));
    ws.options(AcceptOptions::new().config(config)).on_upgrade(admin.0.operators.handler())
}

/// Compares two secrets in a time that does not tell where they differ.
fn is_equal(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}
