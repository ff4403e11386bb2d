//! Which servers are attacked?
//!
//! Each is a process of its own with one worker. It answers the lines `stats`, `memory`,
//! `nodes` and `drain` on its input, and ends with its parent.

use std::convert::Infallible;
use std::future::Future;
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::any_service;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use peak_alloc::PeakAlloc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use warp::Filter as _;
use ws_core::handler::{ConnectionTracker, DrainConfig, HandlerOutput};
use ws_core::{AcceptOptions, Acceptor, Compression, Config, Conn, Error, Keepalive};
use ws_events::Hub;
use ws_events::engine::{EngineConfig, EngineSessions};

use crate::hubs::{self, Counters};

/// Counts what is allocated. The resident memory also has the holes that an allocator keeps.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// How a WebSocket is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Adapter {
    /// `Acceptor` on a TCP stream.
    Bare,
    /// ws-server-hyper.
    Hyper,
    /// ws-server-axum.
    Axum,
    /// ws-server-warp.
    Warp,
}

impl Adapter {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Hyper, Self::Axum, Self::Warp];
    /// The adapters that also serve HTTP/2.
    pub(crate) const HTTP: [Self; 3] = [Self::Hyper, Self::Axum, Self::Warp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Hyper => "hyper",
            Self::Axum => "axum",
            Self::Warp => "warp",
        }
    }
}

/// What a server does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Use {
    /// Sends each back, until one is `hold`. Then nothing is read for a second, and the connection ends.
    Echo,
    /// The same, in a loop that also waits for the end of the connection.
    EchoSelect,
    /// A hub with the envelope: `join`, `say`, `echo`.
    Hub,
    /// A hub without it, which sends messages of 16 B back.
    HubPlain,
    /// A hub for clients of Socket.IO.
    HubSocketIo,
    /// A hub with sessions, histories and presence, also for clients of Socket.IO; through axum only.
    HubService,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[arg(long, value_enum)]
    pub(crate) adapter: Adapter,
    #[arg(long = "use", value_enum, default_value_t = Use::Echo)]
    pub(crate) usage: Use,
    /// All deadlines of the settings, in milliseconds. Default: the defaults.
    #[arg(long)]
    pub(crate) deadlines: Option<u64>,
    /// Sends no pings, for clients that do not answer them.
    #[arg(long)]
    pub(crate) no_keepalive: bool,
    /// Serves TLS. The certificate is written to this file, as DER.
    #[arg(long)]
    pub(crate) tls: Option<String>,
    /// The server that joins the hub with others: `redis://…` or `nats://…`.
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// The processor.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// Serves until the input ends.
pub(crate) fn run(args: &ServeArgs) -> Result<()> {
    load::meter::allow_files(1_000)?;
    if let Some(core) = args.core {
        load::process::run_on([core])?;
    }
    kit::runtime(1)?.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(8192)?;
        kit::print_address(&listener.local_addr()?.to_string())?;
        let tracker = ConnectionTracker::new();
        let counters = Counters::default();
        let hub = hubs::hub(args.usage, args.broker.as_deref(), &counters)?;
        orders(tracker.clone(), hub.clone(), counters);
        let accept = options(args).tracker(&tracker);
        match (args.usage, hub) {
            (Use::HubSocketIo, Some(hub)) => {
                let member = |conn| async move { serve_socketio(&hub, conn).await };
                serve(listener, args, accept, member).await
            }
            (Use::HubService, Some(hub)) => hubs::serve_all(listener, &hub, accept).await,
            (_, Some(hub)) => serve(listener, args, accept, hub.handler()).await,
            (Use::EchoSelect, None) => serve(listener, args, accept, echo_select).await,
            (_, None) => serve(listener, args, accept, echo).await,
        }
    })
}

/// How long a connection is not read after `hold`.
const HOLD: Duration = Duration::from_secs(1);

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        if message.as_bytes() == b"hold" {
            tokio::time::sleep(HOLD).await;
            return Ok(());
        }
        conn.write(message).await?;
    }
}

async fn echo_select(conn: Conn) -> Result<(), Error> {
    loop {
        tokio::select! {
            message = conn.read() => conn.write(message?).await?,
            _ = conn.closed() => return Ok(()),
        }
    }
}

/// Serves a client of Socket.IO that opens a WebSocket at once.
async fn serve_socketio(hub: &Hub, conn: Conn) {
    let config = EngineConfig::new().max_payload(1024 * 1024);
    let session = EngineSessions::new(config).open_websocket(conn);
    let driving = session.clone();
    tokio::join!(driving.drive(), hub.serve_engine(session));
}

/// The defaults and compression, or short deadlines.
fn options(args: &ServeArgs) -> AcceptOptions {
    let mut config = Config::new().compression(Compression::context_takeover());
    let mut options = AcceptOptions::new();
    if let Some(after) = args.deadlines.map(Duration::from_millis) {
        let keepalive = Keepalive::every(after);
        config = config.keepalive(keepalive).write_timeout(after).close_timeout(after);
        options = options.handshake_timeout(after);
    }
    if args.no_keepalive {
        config = config.no_keepalive();
    }
    options.config(config)
}

/// Answers lines on the input, in a thread, because reading blocks.
fn orders(tracker: ConnectionTracker, hub: Option<Hub>, counters: Counters) {
    let handle = Handle::current();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match &*line {
                "stats" => {
                    let [connects, disconnects, errors] = counters.get();
                    println!(
                        "{} {} {connects} {disconnects} {errors}",
                        handle.metrics().num_alive_tasks(),
                        tracker.counts().open,
                    );
                }
                // The present memory, and the peak since the last time, in bytes.
                "memory" => {
                    let (current, peak) = (ALLOCATED.current_usage(), ALLOCATED.peak_usage());
                    ALLOCATED.reset_peak_usage();
                    println!("{current} {peak}");
                }
                // The other nodes of the cluster.
                "nodes" => println!("{}", hub.as_ref().map_or(0, |hub| hub.nodes().len())),
                "drain" => {
                    let limit = Duration::from_secs(60);
                    let left = handle.block_on(async {
                        match &hub {
                            Some(hub) => hub.drain(limit).await.remaining,
                            None => {
                                let gently = DrainConfig::timeout(limit);
                                tracker
                                    .drain(gently.batch(1000, Duration::from_millis(1)))
                                    .await
                                    .open
                            }
                        }
                    });
                    println!("{left}");
                }
                _ => println!("?"),
            }
        }
        std::process::exit(0);
    });
}

async fn serve<H, Fut>(
    listener: TcpListener,
    args: &ServeArgs,
    options: AcceptOptions,
    handler: H,
) -> Result<()>
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let tls = args.tls.as_deref().map(acceptor).transpose()?;
    match args.adapter {
        Adapter::Bare => {
            let acceptor = Acceptor::new(&options);
            match tls {
                None => {
                    let serve = move |stream| {
                        let (acceptor, handler) = (acceptor.clone(), handler.clone());
                        async move { drop(acceptor.serve(stream, handler).await) }
                    };
                    accept(listener, serve).await
                }
                Some(tls) => {
                    let serve = move |stream| {
                        let (acceptor, handler) = (acceptor.clone(), handler.clone());
                        async move { drop(acceptor.serve(stream, handler).await) }
                    };
                    accept_tls(listener, tls, serve).await
                }
            }
        }
        Adapter::Hyper => {
            let service = service_fn(move |mut request: Request<Incoming>| {
                let response: Response<Full<Bytes>> =
                    match ws_server_hyper::accept(&mut request, &options) {
                        Ok((response, upgrade)) => {
                            tokio::spawn(upgrade.serve(handler.clone()));
                            response
                        }
                        Err(rejection) => rejection.into_response().map(Full::from),
                    };
                async { Ok::<_, Infallible>(response) }
            });
            let Some(tls) = tls else {
                return Ok(ws_server_hyper::serve(listener, service).await?);
            };
            accept_tls(listener, tls, move |stream| {
                let service = service.clone();
                async move { drop(ws_server_hyper::serve_stream(stream, None, service).await) }
            })
            .await
        }
        Adapter::Axum => {
            let route = any_service(ws_server_axum::websocket::<(), _, _>(options, handler));
            let app: Router = Router::new().route("/", route);
            let Some(tls) = tls else {
                return Ok(ws_server_axum::serve(listener, app).await?);
            };
            accept_tls(listener, tls, move |stream| {
                let app = app.clone();
                async move { drop(ws_server_axum::serve_stream(stream, None, app).await) }
            })
            .await
        }
        Adapter::Warp => {
            let route = warp::path::end().and(ws_server_warp::websocket(options, handler));
            let service = warp::service(route.recover(ws_server_warp::recover));
            let Some(tls) = tls else {
                return Ok(ws_server_warp::serve(listener, service).await?);
            };
            accept_tls(listener, tls, move |stream| {
                let service = service.clone();
                async move { drop(ws_server_warp::serve_stream(stream, None, service).await) }
            })
            .await
        }
    }
}

/// Accepts connections, and serves each in a task.
async fn accept<F, Fut>(listener: TcpListener, serve: F) -> Result<()>
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        match kit::welcome(&listener).await {
            Ok(stream) => drop(tokio::spawn(serve(stream))),
            // Too many open files, for example.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Accepts connections with TLS, and serves each in a task.
async fn accept_tls<F, Fut>(listener: TcpListener, tls: TlsAcceptor, serve: F) -> Result<()>
where
    F: Fn(TlsStream<TcpStream>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    accept(listener, move |stream| {
        let (tls, serve) = (tls.clone(), serve.clone());
        async move {
            let limit = Duration::from_secs(10);
            if let Ok(Ok(stream)) = tokio::time::timeout(limit, tls.accept(stream)).await {
                serve(stream).await;
            }
        }
    })
    .await
}

/// A certificate for `localhost`, which is written to `file`.
fn acceptor(file: &str) -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(file, made.cert.der()).with_context(|| format!("cannot write {file}"))?;
    let key =
        tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}
