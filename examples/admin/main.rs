//! How do I watch a hub, and disconnect or message its sockets, in a page for operators?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

mod page;
mod view;

use std::net::SocketAddr;

use axum::Router;
use clap::Parser;
use examples::{Listen, bind};
use ws_events::{ConnectRejection, EmitError, Hub, Json, Socket};
use ws_server_axum::{AcceptOptions, serve_until, shutdown_signal, websocket};

use crate::page::Admin;

/// Serves a hub, and a page for its operators.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// The port of the page for operators, on 127.0.0.1.
    #[arg(long, default_value_t = 9001)]
    admin_port: u16,
}

/// The hub of the application: each socket is in the room of its query, such as `/ws?room=red`.
fn application() -> Hub {
    let hub = Hub::builder().envelope().build();
    hub.middleware(async |socket: Socket| match socket.request() {
        Some(_) => Ok(()),
        None => Err(ConnectRejection::new("no request")),
    });
    hub.on_connect(async |socket: Socket| {
        let request = socket.request();
        let room = request.as_ref().and_then(|request| request.query("room"));
        socket.join(room.as_deref().unwrap_or("lobby"))
    });
    hub.on("say", async |socket: Socket, Json(text): Json<String>| -> Result<(), EmitError> {
        for room in socket.rooms() {
            socket.to(room).emit("said", &text)?;
        }
        Ok(())
    });
    hub
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, admin_port } = Args::parse();
    let hub = application();
    let app = Router::new().route("/ws", websocket(AcceptOptions::new(), hub.handler()));
    let listener = listen.bind().await?;
    // A port that only this machine reaches.
    let admin_address = SocketAddr::from(([127, 0, 0, 1], admin_port));
    let admin_listener = bind(admin_address, "--admin-port").await?;
    let admin = Admin::new(hub.clone(), admin_listener.local_addr()?);
    println!("listening on ws://{}", listener.local_addr()?);
    println!("admin page: http://{}/#{}", admin_listener.local_addr()?, admin.token());
    let stop = async move {
        shutdown_signal().await;
        hub.drain(std::time::Duration::from_secs(5)).await;
    };
    let serving = tokio::spawn(admin.serve(admin_listener));
    serve_until(listener, app, stop).await?;
    serving.abort();
    Ok(())
}
