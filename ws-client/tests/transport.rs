//! Does a client connect over TLS, proxies and other transports, and report failures?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{any, get};
use http::header::{PROXY_AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode as Status};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use ws_client::rustls::{ClientConfig, RootCertStore};
use ws_client::{
    CloseInitiator, Config, Dial, DialError, Dialer, InvalidUrl, Message, ProxyError, StatusCode,
    reqwest,
};
use ws_core::AcceptOptions;
use ws_core::Acceptor;
use ws_core::handshake::head::{decode_request, encode_response};
use ws_server_axum::WebSocketUpgrade;

use crate::support;
use crate::support::authority::Identity;
use crate::support::{Authority, echo, hear, listen, say_hello};

/// What makes the connection: a `Dialer`, or a given HTTP client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Dialer,
    Client,
}

const BOTH: [By; 2] = [By::Dialer, By::Client];

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), run).await.unwrap()
}

/// An echo server over TCP or TLS.
async fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    serve_on(listen().await, tls)
}

fn serve_on(listener: TcpListener, tls: Option<TlsAcceptor>) -> SocketAddr {
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                // The client reports errors.
                let Some(tls) = tls else {
                    return drop(Acceptor::new(&AcceptOptions::new()).serve(tcp, echo).await);
                };
                if let Ok(io) = tls.accept(tcp).await {
                    drop(Acceptor::new(&AcceptOptions::new()).serve(io, echo).await);
                }
            });
        }
    });
    addr
}

/// A client that trusts this authority, without proxies.
fn client(authority: &Authority) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_der(&authority.root).unwrap();
    reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([root])
}

fn dialer(authority: &Authority) -> Dialer {
    Dialer::new().no_proxy().tls(authority.client())
}

#[tokio::test]
async fn the_certificate_of_the_server_is_verified() {
    let (ours, other) = (Authority::new(), Authority::new());
    let addr = serve(Some(ours.server(false, &[]))).await;
    in_time(async {
        let dial = Dial::new(format!("wss://{addr}"));
        say_hello(dial.clone().dialer(&dialer(&ours))).await;
        say_hello(dial.clone().client(client(&ours).build().unwrap())).await;
        for dial in [
            dial.clone().dialer(&Dialer::new().no_proxy()),
            dial.clone().dialer(&dialer(&other)),
            dial.client(client(&other).build().unwrap()),
        ] {
            let error = dial.connect().await.unwrap_err();
            assert!(matches!(error, DialError::Tls(_)), "{error:?}");
        }
        let by_another_name = Dial::new(format!("wss://localhost:{}", addr.port()));
        let error = by_another_name.dialer(&dialer(&ours)).connect().await.unwrap_err();
        assert!(matches!(error, DialError::Tls(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (ours, other) = (Authority::new(), Authority::new());
    let addr = serve(Some(ours.server(true, &[]))).await;
    let (known, stranger) = (ours.identity("ann"), other.identity("eve"));
    in_time(async {
        let dial = Dial::new(format!("wss://{addr}"));
        let shown = Dialer::new().no_proxy().tls(showing(&ours, &known));
        say_hello(dial.clone().dialer(&shown)).await;
        let pem = known.certificate.pem() + &known.key.serialize_pem();
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        say_hello(dial.clone().client(client(&ours).identity(identity).build().unwrap())).await;

        let unknown = Dialer::new().no_proxy().tls(showing(&ours, &stranger));
        for dial in [dial.clone().dialer(&dialer(&ours)), dial.dialer(&unknown)] {
            let error = dial.connect().await.unwrap_err();
            assert!(matches!(error, DialError::Tls(_)), "{error:?}");
        }
    })
    .await;
}

/// A client that trusts an authority, and has a certificate.
fn showing(authority: &Authority, identity: &Identity) -> ClientConfig {
    ClientConfig::builder()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(vec![identity.certificate.der().clone()], identity.private_key())
        .unwrap()
}

/// Cut below TLS: no close frame, and no `close_notify` either.
#[tokio::test]
async fn tls_that_ends_without_notice_is_1006() {
    let authority = Authority::new();
    let acceptor = authority.server(false, &[]);
    for by in BOTH {
        let listener = listen().await;
        let dial = Dial::new(format!("wss://{}", listener.local_addr().unwrap()));
        let dial = match by {
            By::Dialer => dial.dialer(&dialer(&authority)),
            By::Client => dial.client(client(&authority).build().unwrap()),
        };
        let serve = async {
            let io = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let conn = Acceptor::new(&AcceptOptions::new()).accept(io).await.unwrap();
            conn.write("last words").await.unwrap();
            conn.flush().await.unwrap();
            conn.close_now();
        };
        let ((), dialled) = in_time(async { tokio::join!(serve, dial.connect()) }).await;
        let conn = dialled.unwrap();
        assert_eq!(conn.read().await.unwrap(), Message::from("last words"));
        let ended = [
            conn.read().await.unwrap_err(),
            conn.write("x").await.unwrap_err(),
            conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap_err(),
        ];
        for error in ended {
            assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE), "{error:?}");
        }
        assert_eq!(conn.closed().await.by, CloseInitiator::Transport);
    }
}

/// A proxy with this response, and its requests.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, mpsc::UnboundedReceiver<Request<()>>) {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            tokio::spawn(tunnel(here, answer, tell.clone()));
        }
    });
    (addr, asked)
}

async fn tunnel(
    mut here: TcpStream,
    answer: &'static [u8],
    tell: mpsc::UnboundedSender<Request<()>>,
) {
    let request = read_request(&mut here).await;
    let there = request.uri().to_string();
    tell.send(request).unwrap();
    here.write_all(answer).await.unwrap();
    if [b"HTTP/1.1 1", b"HTTP/1.1 2"].iter().any(|opens| answer.starts_with(*opens)) {
        let mut there = TcpStream::connect(there).await.unwrap();
        // The result does not matter.
        let _ = copy_bidirectional(&mut here, &mut there).await;
    }
}

const TUNNEL: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

async fn read_request(io: &mut (impl AsyncRead + Unpin)) -> Request<()> {
    let mut input = Vec::new();
    while !input.ends_with(b"\r\n\r\n") {
        input.push(io.read_u8().await.unwrap());
    }
    decode_request(&input).unwrap().unwrap().0
}

#[tokio::test]
async fn a_proxy_gets_a_connect_request() {
    let authority = Authority::new();
    let (plain, secure) = (serve(None).await, serve(Some(authority.server(false, &[]))).await);
    let (proxy, mut asked) = proxy(TUNNEL).await;
    in_time(async {
        for user in ["", "user:p%40ss@"] {
            let proxy = format!("http://{user}{proxy}");
            let through = dialer(&authority).proxy(&proxy);
            let client = client(&authority).proxy(reqwest::Proxy::https(&proxy).unwrap());
            let dials = [
                (plain, Dial::new(format!("ws://{plain}")).dialer(&through)),
                (secure, Dial::new(format!("wss://{secure}")).dialer(&through)),
                (secure, Dial::new(format!("wss://{secure}")).client(client.build().unwrap())),
            ];
            for (addr, dial) in dials {
                say_hello(dial).await;
                let request = asked.recv().await.unwrap();
                assert_eq!(request.method(), "CONNECT");
                assert_eq!(request.uri(), &*addr.to_string());
                let auth = request.headers().get(PROXY_AUTHORIZATION);
                let expected = (!user.is_empty()).then_some("Basic dXNlcjpwQHNz");
                assert_eq!(auth.map(|auth| auth.to_str().unwrap()), expected);
            }
        }
    })
    .await;
}

/// A folded line, and a length without a meaning (RFC 9110 §9.3.6).
#[tokio::test]
async fn a_tunnel_is_opened_whatever_the_headers_of_the_answer() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    ] {
        let (addr, _asked) = proxy(answer).await;
        let addr = format!("http://{addr}");
        let server = serve(None).await;
        in_time(say_hello(Dial::new(format!("ws://{server}")).dialer(&Dialer::new().proxy(addr))))
            .await;
    }
}

/// A SOCKS4 and SOCKS4a proxy, and the targets of its requests.
async fn socks4() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = [0; 8];
                here.read_exact(&mut head).await.unwrap();
                let [4, 1, high, low, ip @ ..] = head else { panic!("{head:?}") };
                until_zero(&mut here).await;
                let port = u16::from_be_bytes([high, low]);
                let host = match ip {
                    // An invalid address means that a name follows.
                    [0, 0, 0, 1..=255] => until_zero(&mut here).await,
                    ip => Ipv4Addr::from(ip).to_string(),
                };
                tell.send(format!("{host}:{port}")).unwrap();
                let mut there = TcpStream::connect((host, port)).await.unwrap();
                here.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let _ = copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    (addr, asked)
}

async fn until_zero(io: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        match io.read_u8().await.unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            byte => text.push(byte),
        }
    }
}

#[tokio::test]
async fn socks4_gets_addresses_and_socks4a_gets_names() {
    let addr = serve(None).await;
    let (proxy, mut asked) = socks4().await;
    let port = addr.port();
    in_time(async {
        for (scheme, host) in [("socks4", "127.0.0.1"), ("socks4a", "localhost")] {
            let through = Dialer::new().proxy(format!("{scheme}://{proxy}"));
            say_hello(Dial::new(format!("ws://localhost:{port}")).dialer(&through)).await;
            assert_eq!(asked.recv().await.unwrap(), format!("{host}:{port}"));
        }
    })
    .await;
}

/// The resolver of the system does not know this name.
#[tokio::test]
async fn a_given_client_uses_its_own_resolver() {
    let addr = serve(None).await;
    let url = format!("ws://chat.invalid:{}", addr.port());
    in_time(async {
        let straight = Dial::new(&url).dialer(&Dialer::new().no_proxy()).connect().await;
        assert!(matches!(straight, Err(DialError::Dns(_))), "{straight:?}");
        let client = reqwest::Client::builder().http1_only().no_proxy();
        let client = client.resolve("chat.invalid", addr).build().unwrap();
        say_hello(Dial::new(&url).client(client)).await;
    })
    .await;
}

#[tokio::test]
async fn a_tls_proxy_gets_a_connect_request() {
    let authority = Authority::new();
    let (plain, secure) = (serve(None).await, serve(Some(authority.server(false, &[]))).await);
    let (listener, acceptor) = (listen().await, authority.server(false, &[]));
    let proxy = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut here = acceptor.accept(tcp).await.unwrap();
            let there = read_request(&mut here).await.uri().to_string();
            let mut there = TcpStream::connect(there).await.unwrap();
            here.write_all(TUNNEL).await.unwrap();
            tokio::spawn(async move { drop(copy_bidirectional(&mut here, &mut there).await) });
        }
    });
    in_time(async {
        let through = dialer(&authority).proxy(&proxy);
        say_hello(Dial::new(format!("ws://{plain}")).dialer(&through)).await;
        say_hello(Dial::new(format!("wss://{secure}")).dialer(&through)).await;
        let stranger = Dialer::new().tls(Authority::new().client()).proxy(&proxy);
        let error = Dial::new(format!("ws://{plain}")).dialer(&stranger).connect().await;
        let Err(DialError::Proxy(ProxyError::Unreachable(step))) = error else { panic!() };
        assert!(matches!(*step, DialError::Tls(_)), "{step:?}");
    })
    .await;
}

/// The settings of the library of the system cannot be changed for the proxy.
#[cfg(feature = "native-tls")]
#[tokio::test]
async fn a_tls_proxy_that_has_negotiated_http2_gets_no_http1() {
    let authority = Authority::new();
    let check = async |chosen: &[&str], by: Dialer| {
        let (listener, acceptor) = (listen().await, authority.server(false, chosen));
        let through = by.proxy(format!("https://{}", listener.local_addr().unwrap()));
        let serve = async {
            let mut io = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut said = Vec::new();
            // Of CONNECT, what arrives before the refusal of this proxy. Otherwise to the end.
            while !said.ends_with(b"\r\n\r\n") && io.read_buf(&mut said).await.unwrap_or(0) > 0 {}
            let _ = io.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
            said
        };
        let dial = Dial::new("wss://example.com").dialer(&through);
        let (dialled, said) = in_time(async { tokio::join!(dial.connect(), serve) }).await;
        (dialled.unwrap_err(), said)
    };
    let given = |protocols| support::system_dialer(&authority, protocols);
    let both = ["h2", "http/1.1"];
    for by in [given(&both), given(&both).http2(), given(&["h2"]).http2_only()] {
        let (error, said) = check(&both, by).await;
        let DialError::Proxy(ProxyError::Unreachable(step)) = &error else { panic!("{error:?}") };
        assert!(matches!(**step, DialError::Tls(_)), "{step:?}");
        assert!(error.to_string().contains("`Dialer::native_tls`"), "{error}");
        assert_eq!(said.escape_ascii().to_string(), "");
    }
    let http1: [(&[&str], _); 3] =
        [(&both, given(&["http/1.1"])), (&both[1..], given(&both)), (&[], given(&both))];
    for (chosen, by) in http1 {
        let (error, said) = check(chosen, by).await;
        assert!(matches!(error, DialError::Proxy(ProxyError::Refused(_))), "{error:?}");
        assert!(said.starts_with(b"CONNECT example.com:443 HTTP/1.1\r\n"), "{chosen:?}");
    }
    // With rustls, the protocols are those that are needed.
    let rustls = dialer(&authority).http2();
    let (error, said) = check(&both, rustls).await;
    assert!(matches!(error, DialError::Proxy(ProxyError::Refused(_))), "{error:?}");
    assert!(said.starts_with(b"CONNECT"));
}

/// A port at which nobody listens, and that no other test gets.
fn refuse() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

#[tokio::test]
async fn proxy_errors_name_the_reason() {
    let check = async |answer: &'static [u8], expected: fn(&ProxyError) -> bool| {
        let (addr, _asked) = proxy(answer).await;
        let through = Dialer::new().proxy(format!("http://user:secret@{addr}"));
        let dialled = Dial::new("ws://example.com").dialer(&through).connect().await;
        let error = dialled.unwrap_err();
        assert!(!format!("{through:?}{error:?}").contains("secret"));
        let DialError::Proxy(error) = error else { panic!("{error:?}") };
        assert!(expected(&error), "{error:?}");
    };
    fn status(error: &ProxyError) -> Option<Status> {
        match error {
            ProxyError::Refused(response) => Some(response.status),
            _ => None,
        }
    }
    let refused = |error: &ProxyError| status(error) == Some(Status::FORBIDDEN);
    let failed = |error: &ProxyError| matches!(error, ProxyError::Failed(_));
    in_time(async {
        check(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", refused).await;
        check(b"HTTP/1.1 403 Forbidden\r\nx: a\r\n b\r\n\r\n", refused).await;
        check(b"HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\n\r\n", |error| {
            let ProxyError::Refused(response) = error else { return false };
            response.status == 407 && response.headers["proxy-authenticate"] == "Basic"
        })
        .await;
        check(b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\n\r\n", |error| {
            let ProxyError::Refused(response) = error else { return false };
            response.status == 503 && response.headers["retry-after"] == "120"
        })
        .await;
        check(b"SSH-2.0-OpenSSH_9.6\r\n", failed).await;
        check(b"", failed).await;

        let refusing = refuse();
        let closed = refusing.local_addr().unwrap();
        for scheme in ["http", "https", "socks5", "socks5h", "socks4a", "HTTP", "SOCKS5H", "Socks4"]
        {
            let through = Dialer::new().proxy(format!("{scheme}://{closed}"));
            let dialled = Dial::new("ws://127.0.0.1").dialer(&through).connect().await;
            let Err(DialError::Proxy(ProxyError::Unreachable(step))) = dialled else { panic!() };
            assert!(matches!(*step, DialError::Tcp(_)), "{step:?}");
        }
        // A given client reports proxy errors too, but only one status.
        let (addr, _asked) = proxy(b"HTTP/1.1 407 Who\r\n\r\n").await;
        let client = reqwest::Client::builder().http1_only();
        let client = client.proxy(reqwest::Proxy::all(format!("http://{addr}")).unwrap());
        let dial = Dial::new("wss://example.com").client(client.build().unwrap());
        let Err(DialError::Proxy(error)) = dial.connect().await else { panic!() };
        assert_eq!(status(&error), Some(Status::PROXY_AUTHENTICATION_REQUIRED));
        let (addr, _asked) = proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
        for url in [format!("http://{addr}"), format!("socks5h://{}", serve(None).await)] {
            let client = reqwest::Client::builder().http1_only();
            let client = client.proxy(reqwest::Proxy::all(url).unwrap()).build().unwrap();
            let dialled = Dial::new("wss://example.com").client(client).connect().await;
            let error = dialled.unwrap_err();
            assert!(matches!(error, DialError::Proxy(ProxyError::Failed(_))), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_invalid_proxy_url_is_reported_before_anything_is_sent() {
    let check = async |url: &str, expected: fn(&InvalidUrl) -> bool| {
        let dialer = Dialer::new().proxy(url).proxy_except("*");
        match Dial::new("ws://127.0.0.1:1").dialer(&dialer).connect().await.unwrap_err() {
            DialError::Proxy(ProxyError::Url(error)) => assert!(expected(&error), "{error:?}"),
            other => panic!("{url}: {other:?}"),
        }
    };
    check("", |error| matches!(error, InvalidUrl::Relative)).await;
    check("proxy.example:3128", |error| matches!(error, InvalidUrl::Scheme(_))).await;
    check("ftp://proxy.example", |error| matches!(error, InvalidUrl::Scheme(_))).await;
    check("socks5:nowhere", |error| matches!(error, InvalidUrl::Relative)).await;
    check("socks5://:1080", |error| matches!(error, InvalidUrl::Host)).await;
    check("http://proxy.example:65536", |error| matches!(error, InvalidUrl::Port)).await;
}

#[tokio::test]
async fn exceptions_bypass_the_proxy() {
    let addr = serve(None).await;
    let (proxy, mut asked) = proxy(TUNNEL).await;
    let mut check = async |dialer: Dialer, through: bool| {
        say_hello(Dial::new(format!("ws://{addr}")).dialer(&dialer)).await;
        assert_eq!(asked.try_recv().is_ok(), through, "{dialer:?}");
    };
    let given = Dialer::new().proxy(format!("http://{proxy}"));
    in_time(async {
        check(given.clone(), true).await;
        check(given.clone().proxy_except("example.com, ::1"), true).await;
        check(given.clone().proxy_except("127.0.0.1"), false).await;
        check(given.clone().proxy_except("127.0.0.0/8"), false).await;
        check(given.clone().proxy_except("*"), false).await;
        check(given.clone().no_proxy(), false).await;
        check(given.proxy_except("*").proxy_except(""), true).await;
        // The order of the settings does not matter.
        let proxy = format!("http://{proxy}");
        check(Dialer::new().proxy_except("127.0.0.1").proxy(proxy), false).await;
    })
    .await;
}

/// Runs another process with a changed environment.
#[tokio::test]
async fn proxies_of_the_environment_are_used() {
    if let Ok(url) = std::env::var("WS_TEST_DIAL") {
        let mut roots = RootCertStore::empty();
        let root = std::fs::read(std::env::var("WS_TEST_ROOT").unwrap()).unwrap();
        roots.add(root.into()).unwrap();
        // With every feature, rustls has two kinds of cryptography, and cannot choose.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        say_hello(Dial::new(&url).dialer(&Dialer::new().tls(tls))).await;
        if url.starts_with("ws:") {
            say_hello(Dial::new(url)).await;
        }
        return;
    }
    let authority = Authority::new();
    let root = std::env::temp_dir().join(format!("ws-client-root-{}", std::process::id()));
    std::fs::write(&root, &authority.root).unwrap();
    let (plain, secure) = (serve(None).await, serve(Some(authority.server(false, &[]))).await);
    let (plain, secure) = (format!("ws://{plain}"), format!("wss://{secure}"));
    let (proxy, mut asked) = proxy(TUNNEL).await;
    let (socks, mut asked_of_socks) = socks4().await;
    let mut check = async |url: &str, vars: &[(&str, &str)], through: bool| {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
            child.env_remove(name).env_remove(name.to_lowercase());
        }
        child.env("WS_TEST_DIAL", url).env("WS_TEST_ROOT", &root).envs(vars.iter().copied());
        child.arg("proxies_of_the_environment_are_used").kill_on_drop(true);
        let done = child.output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let asked = std::iter::from_fn(|| asked.try_recv().ok()).count();
        let asked_of_socks = std::iter::from_fn(|| asked_of_socks.try_recv().ok()).count();
        assert_eq!(asked + asked_of_socks > 0, through, "{url}, {vars:?}");
    };
    let (proxy, socks) = (&format!("http://{proxy}"), &format!("socks4a://{socks}"));
    in_time(async {
        check(&plain, &[], false).await;
        check(&plain, &[("HTTP_PROXY", proxy)], true).await;
        check(&plain, &[("http_proxy", proxy)], true).await;
        check(&plain, &[("ALL_PROXY", proxy)], true).await;
        check(&plain, &[("HTTPS_PROXY", proxy)], false).await;
        check(&plain, &[("ALL_PROXY", socks)], true).await;
        let upper = &socks.replace("socks4a", "SOCKS4A");
        check(&plain, &[("ALL_PROXY", upper)], true).await;
        check(&plain, &[("http_proxy", upper), ("ALL_PROXY", "http://127.0.0.1:1")], true).await;
        check(&plain, &[("HTTPS_PROXY", upper)], false).await;
        check(&plain, &[("ALL_PROXY", upper), ("NO_PROXY", "127.0.0.1")], false).await;
        check(&plain, &[("ALL_PROXY", upper), ("REQUEST_METHOD", "GET")], false).await;
        check(&secure, &[("HTTPS_PROXY", upper)], true).await;
        check(&plain, &[("ALL_PROXY", proxy), ("NO_PROXY", "example.com,127.0.0.1")], false).await;
        check(&plain, &[("ALL_PROXY", proxy), ("no_proxy", "*")], false).await;
        check(&secure, &[("HTTPS_PROXY", proxy)], true).await;
        check(&secure, &[("https_proxy", socks)], true).await;
        check(&secure, &[("ALL_PROXY", proxy)], true).await;
        check(&secure, &[("HTTP_PROXY", proxy)], false).await;
        check(&secure, &[("HTTPS_PROXY", proxy), ("NO_PROXY", "127.0.0.1")], false).await;
    })
    .await;
    std::fs::remove_file(root).unwrap();
}

#[tokio::test]
async fn ipv6_works_directly_and_through_a_proxy() {
    let authority = Authority::new();
    let tls = authority.server_of("::1", false, &[]);
    let v6 = async || TcpListener::bind("[::1]:0").await.unwrap();
    let (plain, secure) = (serve_on(v6().await, None), serve_on(v6().await, Some(tls)));
    let (proxy, mut asked) = proxy(TUNNEL).await;
    in_time(async {
        let through = dialer(&authority).proxy(format!("http://{proxy}"));
        for dialer in [dialer(&authority), through] {
            say_hello(Dial::new(format!("ws://{plain}")).dialer(&dialer)).await;
            say_hello(Dial::new(format!("wss://{secure}")).dialer(&dialer)).await;
        }
        for addr in [plain, secure] {
            assert_eq!(asked.recv().await.unwrap().uri(), &*addr.to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn the_local_address_is_used() {
    let listener = listen().await;
    let local = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    let dial = Dial::new(format!("ws://{}", listener.local_addr().unwrap()));
    let dial = dial.dialer(&Dialer::new().no_proxy().local_address(local));
    let serving = async {
        let (io, peer) = listener.accept().await.unwrap();
        (Acceptor::new(&AcceptOptions::new()).accept(io).await.unwrap(), peer)
    };
    let (dialled, (_server, peer)) = in_time(async { tokio::join!(dial.connect(), serving) }).await;
    let conn = dialled.unwrap();
    assert_eq!((peer.ip(), conn.local_addr()), (local, Some(peer)));
    assert_eq!(conn.peer_addr(), Some(listener.local_addr().unwrap()));
    // The host has no address of this family.
    let other = Dialer::new().no_proxy().local_address(Ipv6Addr::LOCALHOST.into());
    let dial = Dial::new(format!("ws://{}", listener.local_addr().unwrap()));
    let error = dial.dialer(&other).connect().await.unwrap_err();
    assert!(matches!(error, DialError::Tcp(_)), "{error:?}");
    assert!(error.to_string().contains("`Dialer::local_address`"), "{error}");
}

/// On Linux, a listener whose backlog is full answers nothing.
#[cfg(target_os = "linux")]
async fn black_hole() -> (SocketAddr, (TcpListener, TcpStream)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let fills = TcpStream::connect(addr).await.unwrap();
    (addr, (listener, fills))
}

/// The first address answers nothing, the second is of no server (RFC 8305).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_is_dialled_at_its_next_address_if_the_first_is_silent() {
    let authority = Authority::new();
    let tls = authority.server_of("chat.example", false, &["h2", "http/1.1"]);
    let service = || {
        hyper::service::service_fn(async |mut request: Request<hyper::body::Incoming>| {
            let (answer, upgrade) =
                ws_server_hyper::accept(&mut request, &AcceptOptions::new()).unwrap();
            let answer: Response<Full<Bytes>> = answer;
            tokio::spawn(upgrade.serve(echo));
            Ok::<_, std::convert::Infallible>(answer)
        })
    };
    let (plain, secure) = (listen().await, listen().await);
    let (plain_addr, secure_addr) = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
    tokio::spawn(ws_server_hyper::serve(plain, service()));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = secure.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let io = tls.accept(tcp).await.unwrap();
                let _ = ws_server_hyper::serve_stream(io, None, service()).await;
            });
        }
    });
    let (silent, _silent) = black_hole().await;
    let refuses = refuse();
    let refusing = refuses.local_addr().unwrap();
    let (proxy, mut asked) = proxy(TUNNEL).await;
    let at = |addr| [silent, refusing, addr];
    let dialer = dialer(&authority);
    let (plain, secure) = (
        dialer.clone().resolve("chat.example", at(plain_addr)),
        dialer.clone().resolve("Chat.Example", at(secure_addr)),
    );
    let through = dialer.clone().resolve("proxy.example", at(proxy));
    for (url, dialer) in [
        ("ws://chat.example", plain.clone()),
        ("wss://chat.example", secure.clone()),
        ("ws://chat.example", plain.http2_only()),
        ("wss://chat.example", secure.http2()),
        // The proxy looks up the name of the server.
        (&*format!("ws://localhost:{}", plain_addr.port()), through.proxy("http://proxy.example")),
    ] {
        in_time(say_hello(Dial::new(url).dialer(&dialer))).await;
    }
    assert_eq!(asked.recv().await.unwrap().uri().host(), Some("localhost"));
}

#[tokio::test]
async fn the_addresses_of_a_name_are_those_of_the_setting() {
    let addr = serve(None).await;
    let (name, port) = ("chat.invalid", addr.port());
    let open = Dialer::new().no_proxy();
    let dial = |dialer: &Dialer, port: u16| {
        in_time(Dial::new(format!("ws://CHAT.invalid:{port}")).dialer(dialer).connect())
    };
    // The port of the URL, or another one.
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (known, port) in [(any, port), (addr, port), (addr, 1)] {
        let conn = dial(&open.clone().resolve("Chat.Invalid", [known]), port).await.unwrap();
        assert_eq!(conn.peer_addr(), Some(addr), "{known}, {port}");
    }
    // The last call counts. Without it, or for another name, the resolver is asked.
    let none = open.clone().resolve(name, [addr]).resolve(name, []);
    for dialer in [none, open.clone(), open.resolve("other.invalid", [addr])] {
        let error = dial(&dialer, port).await.unwrap_err();
        assert!(matches!(error, DialError::Dns(_)), "{error:?}");
    }
    // A proxy that takes no names gets an address of the setting.
    let (proxy, mut asked) = socks4().await;
    let through = Dialer::new().proxy(format!("socks4://{proxy}")).resolve(name, [addr]);
    dial(&through, 1).await.unwrap();
    assert_eq!(asked.recv().await.unwrap(), addr.to_string());
}

#[tokio::test]
async fn a_unix_socket_works() {
    let folder = std::env::temp_dir().join(format!("ws-client-reach-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(async move { Acceptor::new(&AcceptOptions::new()).serve(io, echo).await });
        }
    });
    in_time(async {
        let dial = Dial::new("ws://chat.internal/room");
        let io = UnixStream::connect(&path).await.unwrap();
        let conn = dial.clone().connect_over(io).await.unwrap();
        hear(&conn, "hello").await;
        let client = reqwest::Client::builder().http1_only().no_proxy().unix_socket(path.clone());
        say_hello(dial.client(client.build().unwrap())).await;
    })
    .await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// An application that requires a login before connecting.
async fn serve_members() -> SocketAddr {
    let login = async || ([(SET_COOKIE, "who=ann; Path=/")], Redirect::to("/chat")).into_response();
    let chat = async |headers: HeaderMap, upgrade: WebSocketUpgrade| {
        if headers.get("cookie").is_none_or(|cookie| cookie != "who=ann") {
            return (Status::UNAUTHORIZED, "log in first").into_response();
        }
        upgrade.on_upgrade(async |conn| drop(echo(conn).await)).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/login", get(login)).route("/chat", any(chat));
    tokio::spawn(async { axum::serve(listener, app).await });
    addr
}

#[tokio::test]
async fn a_given_client_uses_its_cookie_store() {
    let addr = serve_members().await;
    let jar = Arc::new(reqwest::cookie::Jar::default());
    let client = reqwest::Client::builder().http1_only().no_proxy();
    let client = client.cookie_provider(Arc::clone(&jar)).build().unwrap();
    let (login, chat) = (format!("ws://{addr}/login"), format!("ws://{addr}/chat"));
    let refused = async |dial: Dial| {
        let error = dial.connect().await.unwrap_err();
        let response = error.refused_response().unwrap();
        assert_eq!(
            (response.status, &*response.body_text()),
            (Status::UNAUTHORIZED, "log in first")
        );
    };
    in_time(async {
        refused(Dial::new(&chat).client(client.clone())).await;
        // A redirect sets the cookie, which is sent with the next request and later ones.
        say_hello(Dial::new(&login).client(client.clone())).await;
        say_hello(Dial::new(&chat).client(client)).await;
        // A `Dialer` stores no cookies, and sends the given ones.
        refused(Dial::new(&login).dialer(&Dialer::new().no_proxy())).await;
        say_hello(Dial::new(&login).header("cookie", "who=ann")).await;
    })
    .await;
}

/// Who ends a connection over TLS, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// The client closes.
    Close,
    /// The client closes, and its runtime ends at once.
    CloseAndExit,
    /// The client closes, and the server never closes its own direction.
    CloseAlone,
    /// The last handle is dropped.
    Drop,
    /// The server closes.
    CloseOfServer,
    /// The server closes TLS without a close frame.
    EndOfServer,
    /// The server refuses the handshake.
    Refused,
    /// The client aborts.
    Abort,
}

const CLOSE: &[u8] = b"\x88\x02\x03\xe8";

/// How the client reaches a server over TLS.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Directly, or by its own connector.
    By(By),
    /// Directly, with the TLS library of the system.
    #[cfg(feature = "native-tls")]
    System,
    /// Through a proxy over TCP.
    Proxy,
    /// Through a proxy over TLS, which ends by `close_notify`, too.
    TlsProxy,
    /// The same to a server over TCP: the only TLS is that of the proxy.
    TlsProxyOnly,
}

const WAYS: &[Way] = &[
    Way::By(By::Dialer),
    Way::By(By::Client),
    #[cfg(feature = "native-tls")]
    Way::System,
    Way::Proxy,
    Way::TlsProxy,
    Way::TlsProxyOnly,
];

impl Way {
    fn proxy_scheme(self) -> Option<&'static str> {
        match self {
            Self::Proxy => Some("http"),
            Self::TlsProxy | Self::TlsProxyOnly => Some("https"),
            _ => None,
        }
    }

    fn dial(self, url: &str, authority: &Authority, proxy: SocketAddr) -> Dial {
        let dial = Dial::new(url);
        match self {
            Self::By(By::Client) => return dial.client(client(authority).build().unwrap()),
            #[cfg(feature = "native-tls")]
            Self::System => return dial.dialer(&support::system_dialer(authority, &[])),
            _ => {}
        }
        let dialer = dialer(authority);
        match self.proxy_scheme() {
            Some(scheme) => dial.dialer(&dialer.proxy(format!("{scheme}://{proxy}"))),
            None => dial.dialer(&dialer),
        }
    }
}

/// A proxy of one tunnel. Returns whether the client has ended its stream to the proxy orderly: a
/// stream of TLS, by `close_notify`.
async fn tunnels_orderly(listener: TcpListener, tls: Option<TlsAcceptor>) -> bool {
    let mut here = support::accept(&listener, tls.as_ref()).await;
    let there = read_request(&mut here).await.uri().to_string();
    let there = TcpStream::connect(there).await.unwrap();
    here.write_all(TUNNEL).await.unwrap();
    support::tunnel(here, there).await.is_ok()
}

/// A server over TCP or TLS. Returns whether the client has ended its stream orderly: one of TLS, by
/// `close_notify`.
async fn ends_orderly(listener: TcpListener, tls: Option<TlsAcceptor>, ending: Ending) -> bool {
    let mut io = support::accept(&listener, tls.as_ref()).await;
    let request = read_request(&mut io).await;
    if ending == Ending::Refused {
        io.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        // rustls reports an end without `close_notify` as an error.
        return io.read_to_end(&mut Vec::new()).await.is_ok();
    }
    let response = Acceptor::new(&AcceptOptions::new()).answer(&request).unwrap().response;
    io.write_all(&encode_response(&response.map(|()| ""))).await.unwrap();
    match ending {
        Ending::Close | Ending::CloseAndExit | Ending::CloseAlone | Ending::Drop => {
            // The close frame of the client: it is masked.
            assert_eq!(io.read_u8().await.unwrap(), CLOSE[0]);
            io.write_all(CLOSE).await.unwrap();
        }
        Ending::CloseOfServer => io.write_all(CLOSE).await.unwrap(),
        Ending::EndOfServer | Ending::Refused | Ending::Abort => {}
    }
    io.flush().await.unwrap();
    if !matches!(ending, Ending::CloseAlone | Ending::CloseAndExit | Ending::Abort) {
        io.shutdown().await.unwrap();
    }
    io.read_to_end(&mut Vec::new()).await.is_ok()
}

/// RFC 8446 §6.1.
#[tokio::test]
async fn a_client_ends_tls_by_close_notify_unless_it_aborts() {
    let authority = Authority::new();
    let endings = [
        Ending::Close,
        Ending::CloseAndExit,
        Ending::CloseAlone,
        Ending::Drop,
        Ending::CloseOfServer,
        Ending::EndOfServer,
        Ending::Refused,
        Ending::Abort,
    ];
    for (way, ending) in WAYS.iter().flat_map(|way| endings.map(|ending| (*way, ending))) {
        if (way, ending) == (Way::By(By::Client), Ending::Refused) {
            // Its connections belong to `reqwest`.
            continue;
        }
        let (listener, proxy) = (listen().await, listen().await);
        let scheme = if way == Way::TlsProxyOnly { "ws" } else { "wss" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let dial = way.dial(&url, &authority, proxy.local_addr().unwrap());
        let dial = dial.config(Config::new().close_timeout(Duration::from_millis(300)));
        let tls = |wanted: bool| wanted.then(|| authority.server(false, &[]));
        let server = tokio::spawn(ends_orderly(listener, tls(scheme == "wss"), ending));
        let tunnel =
            way.proxy_scheme().map(|scheme| tunnels_orderly(proxy, tls(scheme == "https")));
        let tunnel = tunnel.map(tokio::spawn);
        let normal = StatusCode::NORMAL_CLOSURE;
        let run = async move {
            if ending == Ending::Refused {
                return drop(dial.connect().await.unwrap_err());
            }
            let conn = dial.connect().await.unwrap();
            match ending {
                Ending::Drop => drop(conn),
                Ending::Abort => conn.close_now(),
                Ending::CloseOfServer | Ending::EndOfServer => drop(conn.read().await.unwrap_err()),
                _ => conn.close(normal, "").await.unwrap(),
            }
        };
        if ending == Ending::CloseAndExit {
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            let blocking = tokio::task::spawn_blocking(move || runtime().unwrap().block_on(run));
            blocking.await.unwrap();
        } else {
            in_time(run).await;
        }
        let is_orderly = in_time(server).await.unwrap();
        let has_tls = scheme == "wss";
        assert_eq!(is_orderly, !has_tls || ending != Ending::Abort, "{way:?}, {ending:?}");
        if let Some(tunnel) = tunnel {
            let is_orderly = in_time(tunnel).await.unwrap();
            let has_tls = way.proxy_scheme() == Some("https");
            assert_eq!(is_orderly, !has_tls || ending != Ending::Abort, "{way:?}, {ending:?}");
        }
    }
}
