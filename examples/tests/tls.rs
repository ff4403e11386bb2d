//! Does each adapter serve TLS streams over HTTP/1.1 and HTTP/2?
#![cfg(test)]

mod adapters;
mod self_signed;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::duplex;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use ws_client::Dial;
use ws_server_hyper::{AcceptOptions, Compression, Conn, Error, StatusCode};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// A server and a client that offers only this ALPN protocol.
fn tls(protocol: &str) -> (TlsAcceptor, TlsConnector) {
    let (acceptor, roots) = self_signed::server("localhost");
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    (acceptor, Arc::new(client).into())
}

#[tokio::test]
async fn tls_works_with_http1_and_http2() {
    let compression = Compression::no_context_takeover();
    let run = async {
        for served in adapters::each(&AcceptOptions::new().compression(compression), echo) {
            for protocol in ["http/1.1", "h2"] {
                let (acceptor, connector) = tls(protocol);
                let (client_io, server_io) = duplex(16 * 1024);
                let name = ServerName::try_from("localhost").unwrap();
                let (client_io, server_io) =
                    tokio::join!(connector.connect(name, client_io), acceptor.accept(server_io));
                served.serve(Box::new(server_io.unwrap()));
                let client_io = client_io.unwrap();
                let conn = match protocol {
                    "h2" => {
                        let client = adapters::http2(Box::new(client_io)).await;
                        adapters::connect(client, "/x", compression).await
                    }
                    _ => {
                        let dial = Dial::new("wss://localhost/x").compression(compression);
                        dial.connect_over(client_io).await.unwrap()
                    }
                };
                assert!(conn.is_compressed(), "{}, {protocol}", served.by);
                let text = "the same, over and over. ".repeat(10_000);
                let (sent, echoed) = tokio::join!(conn.write(text.as_str()), conn.read());
                sent.unwrap();
                assert_eq!(echoed.unwrap().as_text(), Some(&*text), "{}, {protocol}", served.by);
                conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}
