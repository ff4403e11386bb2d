//! Does this client work with other proxies, and report their refusals?

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use ws_client::{Dial, DialError, Dialer, ProxyError, reqwest};
use ws_core::AcceptOptions;
use ws_core::Acceptor;

use crate::peers::Peer;
use crate::programs::Program;
use crate::runner::Test;
use crate::support::{Authority, echo, listen, say_hello};

const USER: &str = "ann";
const PASSWORD: &str = "secret";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (peer, scheme) in
        [(Peer::Tinyproxy, "http"), (Peer::Microsocks, "socks5"), (Peer::Microsocks, "socks5h")]
    {
        for auth in [false, true] {
            let name = format!("proxy::{scheme}::{}", if auth { "password" } else { "open" });
            tests.push(Test::new(name, move || pass(peer, scheme, auth)));
        }
    }
    tests
}

/// All kinds of connections, through a proxy that may require a password.
async fn pass(peer: Peer, scheme: &'static str, auth: bool) -> Result<()> {
    let proxy = start(peer, auth).await?;
    let at = format!("127.0.0.1:{}", proxy.port);
    let right = if auth { format!("{USER}:{PASSWORD}@") } else { String::new() };
    let authority = Authority::new();
    let (plain, secure) = (serve(None).await?, serve(Some(&authority)).await?);

    let dialer = Dialer::new().tls(authority.client()).proxy(format!("{scheme}://{right}{at}"));
    let client = reqwest::Client::builder()
        .http1_only()
        .tls_certs_only([reqwest::Certificate::from_der(&authority.root)?])
        .proxy(reqwest::Proxy::all(format!("{scheme}://{right}{at}"))?)
        .build()?;
    say_hello(Dial::new(&plain).dialer(&dialer)).await;
    say_hello(Dial::new(&secure).dialer(&dialer)).await;
    say_hello(Dial::new(&secure).client(client.clone())).await;
    if scheme != "http" {
        say_hello(Dial::new(&plain).client(client)).await;
    }
    #[cfg(feature = "http2")]
    {
        let dialer = dialer.clone().http2();
        let dial = Dial::new(&secure).dialer(&dialer);
        let (first, second) = tokio::join!(dial.clone().connect(), dial.connect());
        for conn in [first?, second?] {
            crate::support::hear(&conn, "hello").await;
            let response = conn.response().context("no response")?;
            ensure!(response.version() == http::Version::HTTP_2, "{response:?}");
        }
    }

    let wrong: &[_] = if auth { &["", "ann:guessed@"] } else { &[] };
    for wrong in wrong {
        let dialer = Dialer::new().proxy(format!("{scheme}://{wrong}{at}"));
        match (scheme, Dial::new(&plain).dialer(&dialer).connect().await) {
            ("http", Err(DialError::Proxy(ProxyError::Refused(response)))) => {
                ensure!(matches!(response.status.as_u16(), 401 | 407), "{response}");
            }
            ("socks5" | "socks5h", Err(DialError::Proxy(ProxyError::Failed(_)))) => {}
            (_, other) => bail!("{wrong:?} lets us through, or not so: {other:?}"),
        }
    }
    Ok(())
}

async fn start(peer: Peer, auth: bool) -> Result<Program> {
    Program::start(peer, |port, folder| match peer {
        Peer::Tinyproxy => {
            let auth = if auth { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
            let config = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\n{auth}");
            let path = folder.join("tinyproxy.conf");
            std::fs::write(&path, config)?;
            Ok(["-d", "-c", &path.to_string_lossy()].map(str::to_owned).into())
        }
        _ => {
            let mut all = ["-i", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
            if auth {
                all.extend(["-u", USER, "-P", PASSWORD].map(str::to_owned));
            }
            Ok(all)
        }
    })
    .await
}

/// An echo server by name, which may have TLS and both HTTP versions.
async fn serve(authority: Option<&Authority>) -> Result<String> {
    let listener = listen().await;
    let port = listener.local_addr()?.port();
    let tls = authority.map(|authority| authority.server(false, &["h2", "http/1.1"]));
    let url = match tls {
        Some(_) => format!("wss://127.0.0.1:{port}"),
        None => format!("ws://localhost:{port}"),
    };
    tokio::spawn(accept(listener, tls));
    Ok(url)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return drop(Acceptor::new(&AcceptOptions::new()).serve(tcp, echo).await);
            };
            if let Ok(io) = tls.accept(tcp).await {
                crate::http2::serve(io).await;
            }
        });
    }
}
