//! Do servers work behind the reverse proxies of the guide, with its configurations?

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ws_client::{Conn, Dial, DialError, Dialer, Message, StatusCode};
use ws_core::handshake::{Origin, TrustedProxies};
use ws_core::{AcceptOptions, Acceptor};

use crate::peers::Peer;
use crate::programs::Program;
use crate::runner::Test;
use crate::support::listen;

/// A client with an address of its own, so that it differs from that of the proxy.
const CLIENT: &str = "127.0.0.2";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for peer in [Peer::Nginx, Peer::Haproxy, Peer::Caddy] {
        tests.push(Test::new(format!("reverse_proxy::{peer}::guide"), move || guide(peer)));
    }
    tests.push(Test::new("reverse_proxy::nginx::without_host", without_host));
    tests
}

/// The configuration of the guide for these ports.
fn configuration(peer: Peer, port: u16, behind: SocketAddr) -> Result<String> {
    let text = match peer {
        Peer::Nginx => include_str!("../../../docs/src/deploy/nginx.conf"),
        Peer::Haproxy => include_str!("../../../docs/src/deploy/haproxy.cfg"),
        Peer::Caddy => include_str!("../../../docs/src/deploy/Caddyfile"),
        _ => bail!("{peer} is no reverse proxy"),
    };
    let (front, back) = ("127.0.0.1:8080", "127.0.0.1:9000");
    ensure!(text.contains(front) && text.contains(back), "{peer}: other ports");
    Ok(text.replace(front, &format!("127.0.0.1:{port}")).replace(back, &behind.to_string()))
}

/// Starts a proxy in front of this address. `change` changes the configuration of the guide.
async fn start(
    peer: Peer,
    behind: SocketAddr,
    change: impl FnOnce(String) -> String,
) -> Result<Program> {
    Program::start(peer, |port, folder| {
        let text = change(configuration(peer, port, behind)?);
        let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
        match peer {
            Peer::Nginx => {
                std::fs::write(at("site.conf"), text)?;
                // The rest of the file that the distribution has.
                let main = format!(
                    "daemon off; error_log stderr; pid {};\nevents {{}}\nhttp {{\n\
                     access_log off; client_body_temp_path {}; proxy_temp_path {};\n\
                     fastcgi_temp_path {}; uwsgi_temp_path {}; scgi_temp_path {};\n\
                     include {};\n}}\n",
                    at("pid"),
                    at("body"),
                    at("proxy"),
                    at("fastcgi"),
                    at("uwsgi"),
                    at("scgi"),
                    at("site.conf"),
                );
                std::fs::write(at("nginx.conf"), main)?;
                Ok(vec!["-c".to_owned(), at("nginx.conf")])
            }
            Peer::Haproxy => {
                std::fs::write(at("haproxy.cfg"), text)?;
                Ok(vec!["-db".to_owned(), "-f".to_owned(), at("haproxy.cfg")])
            }
            _ => {
                std::fs::write(at("Caddyfile"), text)?;
                let args = ["run", "--adapter", "caddyfile", "--config"].map(str::to_owned);
                Ok(args.into_iter().chain([at("Caddyfile")]).collect())
            }
        }
    })
    .await
}

/// Starts a server that first writes the address of its client and whether it uses TLS, and then
/// echoes. A client that writes `close` is closed.
async fn serve(options: AcceptOptions) -> Result<SocketAddr> {
    let listener = listen().await;
    let address = listener.local_addr()?;
    let acceptor = Acceptor::new(&options);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.serve(tcp, welcome).await });
        }
    });
    Ok(address)
}

async fn welcome(conn: Conn) -> Result<()> {
    let address = conn.peer_addr().map_or_else(String::new, |peer| peer.ip().to_string());
    let secure = conn.request().context("no request")?.secure;
    conn.write(format!("{address} secure={secure}")).await?;
    loop {
        let message = conn.read().await?;
        if message.as_text() == Some("close") {
            return Ok(conn.close(StatusCode::try_from(4001)?, "as asked").await?);
        }
        conn.write(message).await?;
    }
}

/// A page of this host connects.
fn page(host: &str, port: u16) -> Result<Dial> {
    let dialer = Dialer::new().no_proxy().local_address(CLIENT.parse::<IpAddr>()?);
    let dial = Dial::new(format!("ws://127.0.0.1:{port}/")).dialer(&dialer);
    Ok(dial.origin(format!("http://{host}")))
}

/// Everything passes: pages of the same host, the address of the client, long messages, codes.
async fn guide(peer: Peer) -> Result<()> {
    let proxies = TrustedProxies::new(["127.0.0.1"])?;
    let behind = serve(AcceptOptions::new().trusted_proxies(proxies)).await?;
    let proxy = start(peer, behind, |text| text).await?;
    let host = format!("127.0.0.1:{}", proxy.port);

    let plain = format!("{CLIENT} secure=false");
    let conn = page(&host, proxy.port)?.connect().await?;
    let client = conn.read().await?;
    ensure!(client.as_text() == Some(&*plain), "the client is {client:?}");
    let long = Message::binary(vec![7; 1 << 20]);
    let (written, read) = tokio::join!(conn.write(long.clone()), conn.read());
    written?;
    ensure!(read? == long, "the message came back as another");
    conn.ping().await?;
    conn.write("close").await?;
    conn.read().await.err().context("a message")?;
    let received = conn.close_info().and_then(|end| end.received).context("no close frame")?;
    ensure!((received.code.as_u16(), &*received.reason) == (4001, "as asked"), "{received:?}");

    // The client makes up an address, a scheme and a host.
    let forged = |host| -> Result<Dial> {
        let dial = page(host, proxy.port)?.header("x-forwarded-for", "192.0.2.1");
        let dial = dial.header("x-forwarded-proto", "https");
        Ok(dial.header("x-forwarded-host", "elsewhere.example"))
    };
    let conn = forged(&host)?.connect().await?;
    let client = conn.read().await?;
    ensure!(client.as_text() == Some(&*plain), "the client is {client:?}");
    let foreign = forged("elsewhere.example")?.connect().await;
    let Err(DialError::Refused(refused)) = foreign else { bail!("a forged host: {foreign:?}") };
    ensure!(refused.status.as_u16() == 403, "{refused:?}");

    let foreign = page("elsewhere.example", proxy.port)?.connect().await;
    let Err(DialError::Refused(refused)) = foreign else { bail!("{foreign:?}") };
    ensure!(refused.status.as_u16() == 403, "{refused:?}");
    Ok(())
}

/// What the server says to a page behind this proxy: the status and the body.
async fn handshake(port: u16) -> Result<String> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await?;
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    // The body of a refusal has arrived when it names the setting, or the connection is open.
    loop {
        let taken = tcp.read(&mut chunk).await?;
        response.extend_from_slice(chunk.get(..taken).unwrap_or_default());
        let text = String::from_utf8_lossy(&response);
        if taken == 0 || text.contains("101") || text.contains("Origin::patterns") {
            return Ok(text.into_owned());
        }
    }
}

/// Without `Host`, pages are refused, and the refusal names the reason and the setting. Each of the
/// remedies of the guide helps: the last one reads the `X-Forwarded-Host` of the configuration.
async fn without_host() -> Result<()> {
    let forget = |text: String| text.replace("proxy_set_header Host $http_host;", "");
    let behind = serve(AcceptOptions::new()).await?;
    let nginx = start(Peer::Nginx, behind, forget).await?;
    let refused = handshake(nginx.port).await?;
    let page = format!("http://127.0.0.1:{}", nginx.port);
    ensure!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    // nginx names its upstream.
    for part in [&*page, "not allowed for the host application", "Origin::patterns"] {
        ensure!(refused.contains(part), "{part}: {refused}");
    }

    let patterns = Origin::patterns(["127.0.0.1:*"]);
    let behind = serve(AcceptOptions::new().origin(patterns)).await?;
    let nginx = start(Peer::Nginx, behind, forget).await?;
    let accepted = handshake(nginx.port).await?;
    ensure!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");

    let proxies = TrustedProxies::new(["127.0.0.1"])?;
    let behind = serve(AcceptOptions::new().trusted_proxies(proxies)).await?;
    let nginx = start(Peer::Nginx, behind, forget).await?;
    let accepted = handshake(nginx.port).await?;
    ensure!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    Ok(())
}
