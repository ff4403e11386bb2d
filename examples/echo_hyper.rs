//! How do I serve WebSockets with hyper?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use ws_server_hyper::{AcceptOptions, Conn, Error, accept, serve};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

async fn handle(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    match accept(&mut request, &AcceptOptions::new()) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(serve(listener, service_fn(handle)).await?)
}
