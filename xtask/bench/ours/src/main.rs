//! How fast is our own server, over bare TCP and through hyper, axum and warp?

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kit::{BURST, Deflate, MESSAGE_LIMIT, Mode, Options};
use tokio::net::TcpStream;
use ws_core::{AcceptOptions, Compression, Config, Conn, Error, Prepared};

fn main() -> Result<()> {
    let options = Options::of_process();
    // One for all connections.
    let server = Server { options, accept: settings(options), room: Room::default() };
    let server: &'static Server = Box::leak(Box::new(server));
    if options.is("hyper") {
        kit::serve(options, |stream| welcome_by_hyper(stream, server))
    } else if options.is("axum") {
        kit::runtime(options.workers)?.block_on(serve_by_axum(server))
    } else if options.is("warp") {
        kit::runtime(options.workers)?.block_on(serve_by_warp(server))
    } else {
        kit::serve(options, |stream| welcome(stream, server))
    }
}

struct Server {
    options: &'static Options,
    accept: AcceptOptions,
    room: Room,
}

/// Makes a connection of a stream, and serves it.
async fn welcome(stream: TcpStream, server: &'static Server) -> Result<()> {
    let conn = Conn::accept(stream, &server.accept).await?;
    Ok(serve(conn, server).await?)
}

/// As [`welcome`], by way of hyper, in a task that does not hold hyper's state.
async fn welcome_by_hyper(stream: TcpStream, server: &'static Server) -> Result<()> {
    let service = service_fn(|request| async { answer(request, server) });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}

fn answer(
    mut request: Request<Incoming>,
    server: &'static Server,
) -> hyper::Result<Response<Full<Bytes>>> {
    match ws_server_hyper::accept(&mut request, &server.accept) {
        Ok((response, upgrade)) => {
            tokio::spawn(async move { serve(upgrade.await?, server).await });
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

/// All connections, by way of axum.
async fn serve_by_axum(server: &'static Server) -> Result<()> {
    let sockets = ws_server_axum::websocket(server.accept.clone(), |conn| serve(conn, server));
    let listener = kit::listener(server.options).await?;
    Ok(axum::serve(listener, Router::new().route("/", sockets)).await?)
}

/// As [`serve_by_axum`], by way of warp.
async fn serve_by_warp(server: &'static Server) -> Result<()> {
    let sockets = ws_server_warp::websocket(server.accept.clone(), |conn| serve(conn, server));
    let listener = kit::listener(server.options).await?;
    Ok(ws_server_warp::serve(listener, warp::service(sockets)).await?)
}

/// What a server has by default, but for what the scenario is about.
fn settings(options: &Options) -> AcceptOptions {
    let compression = match options.deflate {
        Deflate::Off => Compression::off(),
        Deflate::NoTakeover => Compression::no_context_takeover(),
        Deflate::Takeover => Compression::context_takeover(),
    };
    let compression = if options.is("level6") { compression.level(6) } else { compression };
    AcceptOptions::new().config(Config::new().read_limit(MESSAGE_LIMIT).compression(compression))
}

/// What a connection is for. Each apart from the task, which would else have room for the
/// largest of them.
async fn serve(conn: Conn, server: &'static Server) -> Result<(), Error> {
    // What the request said is of no use to an echo.
    drop(conn.take_request());
    match server.options.mode {
        Mode::Echo => Box::pin(echo(conn)).await,
        Mode::Fanout => Box::pin(publish(conn, &server.room)).await,
        Mode::Burst => Box::pin(burst(conn, server.options.writers)).await,
    }
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Sends each message many times, by several tasks that write on the one connection.
async fn burst(conn: Conn, writers: usize) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        for _ in 0..writers {
            let (conn, message) = (conn.clone(), message.clone());
            tokio::spawn(async move {
                for _ in 0..BURST / writers {
                    conn.write(message.clone()).await?;
                }
                Ok::<(), Error>(())
            });
        }
    }
}

/// All connections.
#[derive(Default)]
struct Room(Mutex<Vec<Conn>>);

/// Sends what one connection says to all others.
async fn publish(conn: Conn, room: &Room) -> Result<(), Error> {
    room.0.lock().unwrap_or_else(PoisonError::into_inner).push(conn.clone());
    loop {
        let prepared = Prepared::new(conn.read().await?);
        // Once per message, and no lock is held over an await.
        let all = room.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for other in all.iter().filter(|other| other.id() != conn.id()) {
            other.write_prepared(&prepared).await?;
        }
    }
}
