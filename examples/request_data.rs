//! How does a handler read request data: path, query, cookies, extensions, address?
//!
//! The same handler with axum, hyper and warp.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Router, body::Body};
use clap::{Parser, ValueEnum};
use examples::Listen;
use hyper::service::service_fn;
use warp::Filter as _;
use ws_server_hyper::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, PathParams, accept, shutdown_signal,
};
use ws_server_warp::{Ws, recover, ws};

/// Sends the data of the request to the client. Connect to /ROOM?page=2&tag=a&tag=b.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// The HTTP server.
    #[arg(long, value_enum, default_value = "axum")]
    adapter: Adapter,
}

#[derive(Clone, Copy, ValueEnum)]
enum Adapter {
    Axum,
    Hyper,
    Warp,
}

/// A value that middleware adds to the request as an extension.
#[derive(Clone)]
struct User(&'static str);

async fn report(conn: Conn) -> Result<(), Error> {
    let request = conn.request();
    let Some(request) = request.as_deref() else { return Ok(()) };
    conn.write(format!(
        "user {}, room {}, page {}, theme {}, tags {:?}, from {:?}",
        request.extension().map_or("nobody", |User(name)| name),
        request.param("room").unwrap_or("lobby"),
        request.query("page").as_deref().unwrap_or("1"),
        request.cookie("theme").unwrap_or("light"),
        request.query_all("tag").collect::<Vec<_>>(),
        request.peer_addr.map(|addr| addr.ip()),
    ))
    .await?;
    drop(conn.take_request()); // Frees its memory.
    Ok(())
}

fn on_axum(options: AcceptOptions) -> Router {
    let add_user = async |mut request: Request, next: Next| {
        request.extensions_mut().insert(User("ann"));
        next.run(request).await
    };
    let route = ws_server_axum::websocket(options, report);
    Router::new().route("/{room}", route).layer(from_fn(add_user))
}

fn on_hyper(
    mut request: hyper::Request<hyper::body::Incoming>,
    options: &AcceptOptions,
) -> Response {
    let room = request.uri().path().trim_matches('/').to_owned();
    request.extensions_mut().insert(PathParams::from_iter([("room", room)]));
    request.extensions_mut().insert(User("ann"));
    match accept(&mut request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(report));
            response
        }
        Err(rejection) => rejection.into_response().map(Body::from),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = args.listen.bind().await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    match args.adapter {
        Adapter::Axum => Ok(ws_server_axum::serve_until(listener, on_axum(options), stop).await?),
        Adapter::Hyper => {
            let service = service_fn(move |request| {
                let response = on_hyper(request, &options);
                async { Ok::<_, Infallible>(response) }
            });
            Ok(ws_server_hyper::serve_until(listener, service, stop).await?)
        }
        Adapter::Warp => {
            let route = warp::path!(String).and(ws(options)).map(|room: String, ws: Ws| {
                ws.param("room", room).extension(User("ann")).on_upgrade(report)
            });
            let service = warp::service(route.recover(recover));
            Ok(ws_server_warp::serve_until(listener, service, stop).await?)
        }
    }
}
