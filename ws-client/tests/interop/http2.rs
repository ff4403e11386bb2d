//! Does this client work with the HTTP/2 servers of peers, or fall back to HTTP/1.1?

use std::convert::Infallible;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use ws_client::{Compression, Conn, Dial, Dialer, Message, StatusCode};
use ws_core::AcceptOptions;

use crate::peers::Peer;
use crate::programs::Program;
use crate::rows::SIZES;
use crate::runner::Test;
use crate::server::{Adapter, Server};
use crate::support::{Authority, echo, hear};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("node_http2_server::a_hundred_sockets_on_one_connection", share),
        Test::new("node_http2_server::without_extended_connect", decline),
        Test::new("nginx::without_extended_connect_is_asked_once", fall_back),
    ]
}

/// Serves one connection, over the HTTP version that ALPN selected.
pub(crate) async fn serve(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(async |mut request| {
        let answer = match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(echo));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::<bytes::Bytes>::from),
        };
        Ok::<Response<_>, Infallible>(answer)
    });
    let server = ws_server_hyper::http_builder();
    // The client reports errors.
    drop(server.serve_connection_with_upgrades(TokioIo::new(io), service).await);
}

async fn share() -> Result<()> {
    let authority = Authority::new();
    let identity = authority.identity("127.0.0.1");
    let settings = json!({
        "key": identity.key.serialize_pem(), "cert": identity.certificate.pem(), "allowed": true,
    });
    let server = Peer::start_http2(&settings).await?;
    let dialer = Dialer::new().no_proxy().tls(authority.client()).http2();
    let dial = |path: &str| Dial::new(format!("wss://{}{path}", server.address())).dialer(&dialer);
    let conns = try_join_all((0..100).map(|_| dial("/echo").connect())).await?;
    for conn in &conns {
        ensure!(version(conn)? == http::Version::HTTP_2, "{conn:?}");
    }
    let talks = conns.iter().enumerate().map(async |(i, conn)| {
        hear(conn, &format!("this is {i}")).await;
        // All at once, with messages that are shorter and longer than a window.
        for &size in SIZES.iter().filter(|&&size| size <= 65_536) {
            let message = Message::binary(vec![i as u8; size]);
            let (written, read) = tokio::join!(conn.write(message.clone()), conn.read());
            written?;
            ensure!(read? == message, "{size} bytes on socket {i} came back as others");
        }
        conn.ping().await?;
        anyhow::Ok(())
    });
    try_join_all(talks).await?;
    let asking = dial("/sessions").connect().await?;
    let sessions = asking.read().await?;
    ensure!(sessions.as_text() == Some("1"), "{sessions:?} connections");
    for conn in conns {
        conn.close(StatusCode::NORMAL_CLOSURE, "bye").await?;
        let received = conn.close_info().and_then(|ending| ending.received);
        let received = received.context("no close frame")?;
        ensure!(received.code == StatusCode::NORMAL_CLOSURE, "{received:?}");
    }
    Ok(())
}

/// The server of node supports only HTTP/2 here, so there is no fallback.
async fn decline() -> Result<()> {
    let authority = Authority::new();
    let identity = authority.identity("127.0.0.1");
    let settings = json!({
        "key": identity.key.serialize_pem(), "cert": identity.certificate.pem(), "allowed": false,
    });
    let server = Peer::start_http2(&settings).await?;
    let dialer = Dialer::new().no_proxy().tls(authority.client()).http2_only();
    let dial = Dial::new(format!("wss://{}/echo", server.address())).dialer(&dialer);
    let refused = dial.connect().await;
    ensure!(matches!(refused, Err(ws_client::DialError::NoHttp2)), "{refused:?}");
    Ok(())
}

/// nginx supports HTTP/2 without extended CONNECT. It counts the connections.
async fn fall_back() -> Result<()> {
    let mut behind = Server::start(Adapter::Tcp, Compression::off()).await?;
    let authority = Authority::new();
    let nginx = start_nginx(&authority, &behind.address).await?;
    let dialer = Dialer::new().no_proxy().tls(authority.client()).http2();
    let dial = Dial::new(format!("wss://127.0.0.1:{}/echo", nginx.port)).dialer(&dialer);
    let mut before = accepts(&nginx).await?;
    // The first one probes HTTP/2 and falls back to HTTP/1.1; the others use that at once.
    for connections in [2, 1, 1, 1] {
        let conn = dial.clone().connect().await?;
        ensure!(version(&conn)? == http::Version::HTTP_11, "{conn:?}");
        hear(&conn, "hello").await;
        conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
        behind.check_end(1000).await?;
        let now = accepts(&nginx).await?;
        // One of them asked for this number.
        ensure!(now - before - 1 == connections, "{} connections", now - before - 1);
        before = now;
    }
    Ok(())
}

async fn start_nginx(authority: &Authority, behind: &str) -> Result<Program> {
    let identity = authority.identity("127.0.0.1");
    Program::start(Peer::Nginx, |port, folder| {
        let path = folder.display();
        std::fs::write(folder.join("key.pem"), identity.key.serialize_pem())?;
        std::fs::write(folder.join("cert.pem"), identity.certificate.pem())?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .concat();
        // nginx listens in this order, and the test waits for the last port.
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
            events {{}}
            http {{
                access_log off;
                {temporary}
                server {{
                    listen unix:{path}/status;
                    location / {{ stub_status; }}
                }}
                server {{
                    listen 127.0.0.1:{port} ssl http2;
                    ssl_certificate {path}/cert.pem;
                    ssl_certificate_key {path}/key.pem;
                    location / {{
                        proxy_pass http://{behind};
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection upgrade;
                    }}
                }}
            }}"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config)?;
        let folder = path.to_string();
        Ok(vec!["-p".into(), folder, "-c".into(), file.to_string_lossy().into_owned()])
    })
    .await
}

/// The number of accepted connections, including the one that asks.
async fn accepts(nginx: &Program) -> Result<u64> {
    let mut io = tokio::net::UnixStream::connect(nginx.folder().join("status")).await?;
    io.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut said = String::new();
    io.read_to_string(&mut said).await?;
    let numbers = said.lines().skip_while(|line| !line.contains("accepts")).nth(1);
    let first = numbers.and_then(|line| line.split_whitespace().next());
    Ok(first.with_context(|| format!("it says {said:?}"))?.parse()?)
}

fn version(conn: &Conn) -> Result<http::Version> {
    Ok(conn.response().context("no response")?.version())
}
