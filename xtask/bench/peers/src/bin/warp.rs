//! How fast is warp?

use anyhow::Result;
use kit::{Hub, MESSAGE_LIMIT, Mode, Options};
use peers::{echo, pass_on};
use tokio::net::{TcpListener, TcpSocket};
use warp::Filter as _;
use warp::ws::Ws;

fn main() -> Result<()> {
    let options = Options::of_process();
    let hub = Hub::default();
    let sockets = warp::ws().map(move |upgrade: Ws| {
        let hub = hub.clone();
        upgrade.max_message_size(MESSAGE_LIMIT).on_upgrade(move |socket| async move {
            // Errors do not matter: the load generator closes connections without a handshake.
            let _ = match options.mode {
                Mode::Echo | Mode::Burst => echo(socket).await,
                Mode::Fanout => pass_on(socket, hub.subscribe()).await,
            };
        })
    });
    kit::runtime(options.workers)?.block_on(async {
        warp::serve(sockets).incoming(listener(options)?).run().await;
        Ok(())
    })
}

/// A listener with `TCP_NODELAY`, which accepted connections inherit: warp has no setting for it.
fn listener(options: &Options) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind(options.listen)?;
    let listener = socket.listen(1024)?;
    kit::print_address(&listener.local_addr()?.to_string())?;
    Ok(listener)
}
