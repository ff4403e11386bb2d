//! Which hub servers are measured?
//!
//! Each adds every connection to one room, and sends the number of messages that a member requests.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Result, bail};
use axum::Router;
use axum::serve::ListenerExt as _;
use clap::ValueEnum;
use tokio::net::TcpListener;
use ws_core::{AcceptOptions, Config, Message};
use ws_events::{DisconnectReason, EncodeError, Hub, Json, SendQueueLimits, Socket};
use ws_events_socketio::{EngineConfig, SocketIo};

use crate::{drive, raw};

/// The line that the server of our hub prints for each slow consumer that it disconnects.
pub(crate) const SLOW_CONSUMER: &str = "slow consumer";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Bytes, with a task for each connection.
    RawQueue,
    /// Bytes, written by the sender.
    RawInline,
    /// Our hub, through axum.
    Ours,
    /// The same, on two threads and both processors.
    OursTwoThreads,
    /// Our hub with clients of Socket.IO, through axum.
    OursSocketio,
    /// axum's own WebSockets, with `tokio::sync::broadcast`.
    #[cfg(feature = "peers")]
    AxumBroadcast,
    /// socketioxide, in axum.
    #[cfg(feature = "peers")]
    Socketioxide,
    /// socket.io on node, a program of its own: `socketio_node.mjs`.
    SocketioNode,
}

impl Kind {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) const fn is_raw(self) -> bool {
        matches!(self, Self::RawQueue | Self::RawInline)
    }

    pub(crate) const fn threads(self) -> usize {
        if matches!(self, Self::OursTwoThreads) { 2 } else { 1 }
    }

    /// Whether it is a hub of this workspace.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursTwoThreads | Self::OursSocketio)
    }

    pub(crate) fn speaks_socket_io(self) -> bool {
        ["ours-socketio", "socketioxide", "socketio-node"].contains(&&*self.name())
    }
}

/// The size of a small send buffer in the kernel, which doubles it.
const SMALL_BUFFER: u32 = 16 * 1024;

pub(crate) fn serve(kind: Kind, small_buffers: bool) -> Result<()> {
    load::meter::allow_files(12_000)?;
    // The input ends with the parent process.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    kit::runtime(kind.threads())?.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        if small_buffers {
            // Accepted sockets inherit the size.
            socket.set_send_buffer_size(SMALL_BUFFER)?;
        }
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(8192)?;
        println!("{}", listener.local_addr()?);
        match kind {
            Kind::RawQueue => raw::serve(listener, false).await,
            Kind::RawInline => raw::serve(listener, true).await,
            Kind::Ours | Kind::OursTwoThreads => run(listener, ours()).await,
            Kind::OursSocketio => run(listener, ours_socketio()).await,
            #[cfg(feature = "peers")]
            Kind::AxumBroadcast => run(listener, peers::axum_broadcast()).await,
            #[cfg(feature = "peers")]
            Kind::Socketioxide => run(listener, peers::socketioxide()).await,
            Kind::SocketioNode => bail!("socket.io runs on node"),
        }
    })
}

async fn run(listener: TcpListener, app: Router) -> Result<()> {
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}

fn ours() -> Router {
    let hub = Hub::builder().send_queue(SendQueueLimits::new()).build();
    hub.on_connect(async |socket: Socket| socket.join("room"));
    hub.on_disconnect(async |reason: DisconnectReason| {
        if let DisconnectReason::SlowConsumer { .. } = reason {
            println!("{SLOW_CONSUMER}");
        }
    });
    hub.on_message(async |socket: Socket, message: Message| {
        let room = socket.hub().to("room");
        for _ in 0..drive::burst_of(message.as_bytes()) {
            room.send(drive::text(false));
        }
    });
    // The load driver does not answer pings, and the other servers send none.
    let options = AcceptOptions::new().config(Config::new().no_keepalive());
    Router::new().fallback_service(ws_server_axum::websocket(options, hub.handler()))
}

fn ours_socketio() -> Router {
    let hub = Hub::builder().send_queue(SendQueueLimits::new()).build();
    hub.on_connect(async |socket: Socket| socket.join("room"));
    hub.on("go", async |socket: Socket, Json(burst): Json<usize>| -> Result<(), EncodeError> {
        let room = socket.hub().to("room");
        for _ in 0..burst {
            room.emit("m", &drive::text(true))?;
        }
        Ok(())
    });
    // The load driver does not answer pings.
    let hour = Duration::from_secs(3600);
    let config = EngineConfig::new().ping_interval(hour).ping_timeout(hour);
    Router::new().nest_service("/socket.io/", SocketIo::new(&hub).config(config))
}

#[cfg(feature = "peers")]
mod peers {
    use std::time::Duration;

    use axum::Router;
    use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
    use axum::routing::get;
    use futures_util::{SinkExt as _, StreamExt as _};
    use socketioxide::SocketIo;
    use socketioxide::extract::{Data, SocketRef};
    use tokio::sync::broadcast;

    use super::drive;

    pub(super) fn axum_broadcast() -> Router {
        let (room, _) = broadcast::channel(1024);
        // axum clones the route and the room for each request.
        let route = get(async move |ws: WebSocketUpgrade| {
            ws.on_upgrade(move |socket| member(socket, room))
        });
        Router::new().fallback(route)
    }

    async fn member(socket: WebSocket, room: broadcast::Sender<Utf8Bytes>) {
        let mut news = room.subscribe();
        let (mut sink, mut stream) = socket.split();
        loop {
            tokio::select! {
                text = news.recv() => {
                    let Ok(text) = text else { return };
                    if sink.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                message = stream.next() => {
                    let Some(Ok(message)) = message else { return };
                    for _ in 0..drive::burst_of(&message.into_data()) {
                        let _ = room.send(Utf8Bytes::from(drive::text(false)));
                    }
                }
            }
        }
    }

    pub(super) fn socketioxide() -> Router {
        // It sends a ping at once, and the load driver does not answer.
        let hour = Duration::from_secs(3600);
        let settings = SocketIo::builder().ping_interval(hour).ping_timeout(hour);
        let (layer, io) = settings.max_buffer_size(1024).build_layer();
        io.ns("/", async |socket: SocketRef| {
            socket.join("room");
            socket.on("go", async |io: SocketIo, Data::<usize>(burst)| {
                for _ in 0..burst {
                    let _ = io.to("room").emit("m", &drive::text(true)).await;
                }
            });
        });
        Router::new().layer(layer)
    }
}
