//! What happens to a client whose server or proxy is hostile?

mod http2;
mod proxies;
mod script;
mod servers;
mod tls;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use load::process::Process;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use ws_client::{Compression, Config, Conn, Dial, Dialer, Error, Message};

use self::script::{Hostile, Reach};
use crate::report::{Finding, Report};
use crate::target::{own, status};

/// How long a client may take for the opening handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the client waits for a message.
const SILENCE: Duration = Duration::from_millis(700);

/// The client that is attacked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DialArgs {
    url: String,
    #[arg(long)]
    proxy: Option<String>,
    #[arg(long)]
    http2: bool,
    /// The certificate of the server, as DER.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Writes, and does not read.
    #[arg(long)]
    write: bool,
}

/// Dials a URL, reads or writes to the end, and prints the outcome in one line.
pub(crate) fn run_dial(args: &DialArgs) -> Result<()> {
    let dial = Dial::new(&args.url)
        .dialer(&dialer(args)?)
        .config(Config::new().write_timeout(WRITE_TIMEOUT))
        .compression(Compression::context_takeover())
        .connect_timeout(CONNECT_TIMEOUT);
    kit::runtime(1)?.block_on(async {
        let own = std::process::id().cast_signed();
        let before = status(own, "VmRSS:")?;
        let outcome = match dial.connect().await {
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
            Ok(conn) => {
                let found = if args.write { write(&conn).await } else { read(&conn).await };
                match found {
                    Some(error) => format!("open, then {:#}", anyhow::Error::from(error)),
                    None => "open, then silent".to_owned(),
                }
            }
        };
        let more = status(own, "VmHWM:")? - before;
        println!("{more} {}", outcome.replace('\n', " "));
        Ok(())
    })
}

fn dialer(args: &DialArgs) -> Result<Dialer> {
    let mut dialer = match &args.proxy {
        Some(proxy) => Dialer::new().proxy(proxy),
        None => Dialer::new().no_proxy(),
    };
    if let Some(file) = &args.tls {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(std::fs::read(file)?))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        dialer = dialer.tls(config);
    }
    Ok(if args.http2 { dialer.http2_only() } else { dialer })
}

/// Reads until an error, or until no message arrives.
async fn read(conn: &Conn) -> Option<Error> {
    while let Ok(found) = timeout(SILENCE, conn.read()).await {
        if let Err(error) = found {
            return Some(error);
        }
    }
    None
}

/// Writes until an error, for three seconds.
async fn write(conn: &Conn) -> Option<Error> {
    let writing = async {
        loop {
            if let Err(error) = conn.write(Message::binary(vec![0; 64 * 1024])).await {
                return error;
            }
        }
    };
    timeout(Duration::from_secs(3), writing).await.ok()
}

/// The memory that a client may add, in KiB: one message, buffers, windows, and what is set up once.
const MEMORY: i64 = 8 * 1024;
/// When the client has to have ended: its deadlines, and the start of a process.
const LIMIT: Duration = Duration::from_secs(4);
/// How many clients are attacked at a time. Most of them wait.
const AT_ONCE: usize = 8;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let rows = [
        ("server", servers::servers()),
        ("server over TLS", tls::servers()?),
        ("server over HTTP/2", http2::servers()),
        ("proxy", proxies::proxies()),
    ];
    let rows = rows.into_iter().flat_map(|(kind, rows)| {
        rows.into_iter().map(move |row| (format!("hostile {kind}: {}", row.what), row))
    });
    let rows: Vec<_> = rows.filter(|(attack, _)| report.wants(attack)).collect();
    for rows in rows.chunks(AT_ONCE) {
        let findings: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = rows.iter().map(|(_, row)| scope.spawn(|| try_on(row))).collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for ((attack, row), finding) in rows.iter().zip(findings) {
            let words = row.outcome.join("` or `");
            let bound = format!("ends within {LIMIT:?} with `{words}`; < {MEMORY} KiB more");
            report.row(attack, "client", &bound, || {
                finding.unwrap_or_else(|_| anyhow::bail!("the row has panicked"))
            });
        }
    }
    let _ = std::fs::remove_file(&tls::certificate()?.file);
    Ok(())
}

/// Starts the peer and a client, and judges the outcome.
fn try_on(row: &Hostile) -> Result<Finding> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let script = Arc::clone(&row.script);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    let mut url = format!("ws://{address}/");
    let mut more = Vec::new();
    match row.via {
        Reach::Http1 => {}
        Reach::Http1Writes => more.push("--write".to_owned()),
        Reach::Http2 => more.push("--http2".to_owned()),
        Reach::Http2Writes => more.extend(["--http2", "--write"].map(str::to_owned)),
        Reach::Tls => {
            url = format!("wss://localhost:{}/", address.port());
            more.push(format!("--tls={}", tls::certificate()?.file.display()));
        }
        Reach::Proxy(scheme) => {
            url = "ws://server.invalid/".to_owned();
            more.push(format!("--proxy={scheme}://{address}"));
        }
    }
    let began = Instant::now();
    let (_process, mut answers) = Process::start(own(&["dial", &url])?.args(more))?;
    let line = answers.line().context("the client has panicked")?;
    let took = began.elapsed();
    let (more, found) = line.split_once(' ').context("no outcome")?;
    let more: i64 = more.parse()?;
    let held = row.outcome.iter().any(|word| found.contains(word)) && took < LIMIT && more < MEMORY;
    let found: String = found.chars().take(160).collect();
    Ok(Finding::new(format!("{found}; {:.2} s; {more} KiB", took.as_secs_f64()), held))
}
