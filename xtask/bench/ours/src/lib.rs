//! How do the programs of `ours` serve, over bare TCP and through hyper, axum and warp?
//!
//! Each program has one loop, as an application does.

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;
use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kit::{Deflate, MESSAGE_LIMIT, Options};
use tokio::net::TcpStream;
use ws_core::{AcceptOptions, Acceptor, Compression, Config, Conn, Error, Limits};

/// The loop that serves a connection.
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

/// Serves over bare TCP, or through hyper.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve_streams(options: &'static Options, handler: impl Handler) -> Result<()> {
    let accept = settings(options);
    if options.is("hyper") {
        kit::serve(options, move |stream| welcome_by_hyper(stream, accept, handler))
    } else {
        kit::serve(options, move |stream| welcome(stream, accept, handler))
    }
}

/// Serves through axum or warp.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve_frameworks(options: &'static Options, handler: impl Handler) -> Result<()> {
    let (accept, handler) = (settings(options).clone(), move |conn| serve(conn, handler));
    kit::runtime(options.workers)?.block_on(async {
        let listener = kit::listener(options).await?;
        if options.is("axum") {
            let sockets = ws_server_axum::websocket(accept, handler);
            return Ok(axum::serve(listener, Router::new().route("/", sockets)).await?);
        }
        let sockets = ws_server_warp::websocket(accept, handler);
        Ok(ws_server_warp::serve(listener, warp::service(sockets)).await?)
    })
}

/// Sends each message back.
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

/// Accepts a connection over a stream, and serves it.
async fn welcome(
    stream: TcpStream,
    accept: &'static AcceptOptions,
    handler: impl Handler,
) -> Result<()> {
    let conn = Acceptor::new(accept).accept(stream).await?;
    Ok(serve(conn, handler).await?)
}

/// As [`welcome`], through hyper, in a task without hyper's state.
async fn welcome_by_hyper(
    stream: TcpStream,
    accept: &'static AcceptOptions,
    handler: impl Handler,
) -> Result<()> {
    let service = service_fn(|request| async move { answer(request, accept, handler) });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}

fn answer(
    mut request: Request<Incoming>,
    accept: &AcceptOptions,
    handler: impl Handler,
) -> hyper::Result<Response<Full<Bytes>>> {
    match ws_server_hyper::accept(&mut request, accept) {
        Ok((response, upgrade)) => {
            tokio::spawn(async move { serve(upgrade.await?, handler).await });
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

/// The default settings, with the compression of the scenario. All connections share them.
fn settings(options: &Options) -> &'static AcceptOptions {
    let compression = match options.deflate {
        Deflate::Off => Compression::off(),
        Deflate::NoTakeover => Compression::no_context_takeover(),
        Deflate::Takeover => Compression::context_takeover(),
    };
    let compression = if options.is("level6") { compression.level(6) } else { compression };
    let config =
        Config::new().limits(Limits::new().message_size(MESSAGE_LIMIT)).compression(compression);
    Box::leak(Box::new(AcceptOptions::new().config(config)))
}

/// Serves in a box. Otherwise the future of the handshake has room for the loop as well.
fn serve<H: Handler>(conn: Conn, handler: H) -> Pin<Box<H::Served>> {
    // The request is not used.
    drop(conn.take_request());
    Box::pin(handler(conn))
}
