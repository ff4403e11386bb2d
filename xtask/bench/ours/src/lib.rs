//! How do the programs of `ours` serve, over bare TCP and through hyper, axum and warp?
//!
//! As a user writes them: the handler is that of the README and of the examples, and each server
//! takes it as it is. The request is kept, and nothing is boxed here.

use std::convert::Infallible;
use std::future::{Future, ready};

use anyhow::Result;
use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use kit::{Deflate, MESSAGE_LIMIT, Options};
use warp::Filter as _;
use ws_core::{AcceptOptions, Acceptor, Compression, Config, Conn, Error, Limits};

/// The function that serves a connection.
pub trait Handler: Fn(Conn) -> Self::Served + Copy + Send + Sync + 'static {
    /// Its future.
    type Served: Future<Output = Result<(), Error>> + Send + 'static;
}

impl<H, F> Handler for H
where
    H: Fn(Conn) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    type Served = F;
}

/// Sends every message back until the connection closes.
///
/// # Errors
///
/// The end of the connection.
pub async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Serves over bare TCP, or through hyper.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve_streams(options: &'static Options, handler: impl Handler) -> Result<()> {
    let accept = settings(options);
    kit::runtime(options.workers)?.block_on(async {
        let listener = kit::listener(options).await?;
        if !options.is("hyper") {
            let acceptor = Acceptor::new(&accept);
            loop {
                // The library sets `TCP_NODELAY`.
                let (stream, _) = listener.accept().await?;
                tokio::spawn(acceptor.serve(stream, handler));
            }
        }
        let service = service_fn(move |request| {
            let response = answer(request, &accept, handler);
            ready(Ok::<_, Infallible>(response))
        });
        Ok(ws_server_hyper::serve(listener, service).await?)
    })
}

/// Serves through axum or warp.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve_frameworks(options: &'static Options, handler: impl Handler) -> Result<()> {
    let accept = settings(options);
    kit::runtime(options.workers)?.block_on(async {
        let listener = kit::listener(options).await?;
        if options.is("axum") {
            let app = Router::new().route("/", ws_server_axum::websocket(accept, handler));
            return Ok(ws_server_axum::serve(listener, app).await?);
        }
        let route = warp::path::end().and(ws_server_warp::websocket(accept, handler));
        let service = warp::service(route.recover(ws_server_warp::recover));
        Ok(ws_server_warp::serve(listener, service).await?)
    })
}

/// Serves over TLS: bare, or through hyper, axum or warp with HTTP/1.1 and HTTP/2.
///
/// # Errors
///
/// The address cannot be bound.
#[cfg(feature = "tls")]
pub fn serve_tls(options: &'static Options) -> Result<()> {
    let accept = settings(options);
    if options.is("axum") {
        let app: Router = Router::new().route("/", ws_server_axum::websocket(accept, echo));
        let serve = move |stream| ws_server_axum::serve_stream(stream, None, app.clone());
        return kit::serve_tls(options, serve);
    }
    if options.is("warp") {
        let route = warp::path::end().and(ws_server_warp::websocket(accept, echo));
        let service = warp::service(route.recover(ws_server_warp::recover));
        let serve = move |stream| ws_server_warp::serve_stream(stream, None, service.clone());
        return kit::serve_tls(options, serve);
    }
    if options.is("hyper") {
        let service =
            service_fn(move |request| ready(Ok::<_, Infallible>(answer(request, &accept, echo))));
        let serve = move |stream| ws_server_hyper::serve_stream(stream, None, service.clone());
        return kit::serve_tls(options, serve);
    }
    let acceptor = Acceptor::new(&accept);
    kit::serve_tls(options, move |stream| acceptor.serve(stream, echo))
}

fn answer(
    mut request: Request<Incoming>,
    accept: &AcceptOptions,
    handler: impl Handler,
) -> Response<Full<Bytes>> {
    match ws_server_hyper::accept(&mut request, accept) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(handler));
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    }
}

/// The default settings, with the limit of all implementations and the compression of the scenario.
/// The variant `no-request` keeps no request.
fn settings(options: &Options) -> AcceptOptions {
    let compression = match options.deflate {
        Deflate::Off => Compression::off(),
        Deflate::NoTakeover => Compression::no_context_takeover(),
        Deflate::Takeover => Compression::context_takeover(),
    };
    let compression = if options.is("level6") { compression.level(6) } else { compression };
    let config =
        Config::new().limits(Limits::new().message_size(MESSAGE_LIMIT)).compression(compression);
    AcceptOptions::new().config(config).keep_request(!options.is("no-request"))
}

#[cfg(test)]
mod tests {
    /// The measured handler, and the texts that show it to users.
    #[test]
    fn the_measured_handler_is_that_of_the_readme_and_the_examples() {
        let own = include_str!("lib.rs");
        let start = own.find("async fn echo").unwrap();
        let handler = &own[start..start + own[start..].find("\n}\n").unwrap() + 3];
        for (name, text) in [
            ("README.md", include_str!("../../../../README.md")),
            ("echo_axum.rs", include_str!("../../../../examples/echo_axum.rs")),
            ("echo_hyper.rs", include_str!("../../../../examples/echo_hyper.rs")),
            ("echo_warp.rs", include_str!("../../../../examples/echo_warp.rs")),
        ] {
            assert!(text.contains(handler), "{name} has another handler");
        }
    }
}
