//! What happens to a client whose server or proxy is hostile?

mod http2;
mod proxies;
mod servers;
mod tls;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kit::answer;
use load::process::Process;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use ws_client::{Compression, Config, Conn, Dial, Dialer, Error, Message};

use crate::report::{Finding, Report};
use crate::target::{own, status};

/// How long a client may take for the opening handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the client waits for a message.
const SILENCE: Duration = Duration::from_millis(700);
/// How long a script goes on.
const SCRIPT: Duration = Duration::from_secs(5);

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

/// What a peer does with a connection.
type Script = Arc<dyn Fn(TcpStream) -> Result<()> + Send + Sync>;

/// How the client reaches the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Http1,
    /// The client writes without end.
    Http1Writes,
    Tls,
    Http2,
    /// The client writes without end.
    Http2Writes,
    /// The peer is a proxy with this scheme.
    Proxy(&'static str),
}

struct Hostile {
    what: &'static str,
    /// Words in the outcome, one of which is expected.
    outcome: &'static [&'static str],
    via: Reach,
    script: Script,
}

/// A peer that reads the head of a request, and then does this.
fn scripted(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream, String) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    raw(Reach::Http1, what, outcome, move |stream| {
        let request = read_head(&stream)?;
        script(stream, request)
    })
}

/// A peer that reads nothing by itself.
fn raw(
    via: Reach,
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    Hostile { what, outcome, via, script: Arc::new(script) }
}

/// Sends these bytes for a head.
fn hostile(
    what: &'static str,
    outcome: &'static [&'static str],
    bytes: impl Into<Vec<u8>>,
) -> Hostile {
    let bytes: Vec<u8> = bytes.into();
    scripted(what, outcome, move |mut stream, _| {
        stream.write_all(&bytes)?;
        wait(&mut stream)
    })
}

/// Sends the same bytes until the client ends, or to the end of the script.
fn endless(
    what: &'static str,
    outcome: &'static [&'static str],
    start: &'static str,
    bytes: Vec<u8>,
) -> Hostile {
    scripted(what, outcome, move |mut stream, _| {
        stream.write_all(start.as_bytes())?;
        repeat(&mut stream, &bytes)
    })
}

fn read_head(stream: &TcpStream) -> Result<String> {
    // The client sends nothing behind a head before it has an answer.
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    Ok(request)
}

fn accept(request: &str, more: &str) -> Result<Vec<u8>> {
    let (mut head, _) = answer(request.as_bytes())?.context("half a request")?;
    head.truncate(head.len() - 2);
    Ok(format!("{head}{more}\r\n").into_bytes())
}

/// Reads to the end.
fn wait(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(SCRIPT))?;
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

/// Writes the same bytes until the client ends, or to the end of the script.
fn repeat(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let began = Instant::now();
    while began.elapsed() < SCRIPT && stream.write_all(bytes).is_ok() {}
    Ok(())
}

/// Writes one byte after another.
fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    Ok(())
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
