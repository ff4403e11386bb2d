//! How do I serve WebSockets with hyper?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use ws_server_hyper::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, accept, serve_until,
    shutdown_signal,
};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

fn handle(mut request: Request<Incoming>, options: &AcceptOptions) -> Response<Full<Bytes>> {
    match accept(&mut request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = examples::listen("Sends every message back, with hyper.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let service = service_fn(move |request| {
        let response = handle(request, &options);
        async { Ok::<_, Infallible>(response) }
    });
    // At Ctrl-C or SIGTERM, closes all connections with 1001.
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, service, stop).await?)
}
