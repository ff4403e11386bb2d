//! How fast is axum over TLS, with HTTP/1.1 and HTTP/2?

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::any;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use kit::{MESSAGE_LIMIT, Options};

fn main() -> anyhow::Result<()> {
    let router = Router::new().route(
        "/",
        any(async |upgrade: WebSocketUpgrade| {
            upgrade.max_message_size(MESSAGE_LIMIT).on_upgrade(async |socket| {
                // Errors do not matter: the load generator ends connections at any time.
                let _ = peers::echo(socket).await;
            })
        }),
    );
    let service = TowerToHyperService::new(router);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().enable_connect_protocol();
    let builder = Arc::new(builder);
    kit::serve_tls(Options::of_process(), move |stream| {
        let (builder, service) = (Arc::clone(&builder), service.clone());
        async move { builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await }
    })
}
