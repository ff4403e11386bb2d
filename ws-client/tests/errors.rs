//! Does the text of each error say it all, in one line: what failed, why, where, and what to change?

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use ws_client::reconnect::{ConnectionFailure, ReconnectError};
use ws_client::{
    CloseError, CloseInfo, CloseInitiator, CodecError, Deadline, Dial, DialError, Dialer, Error,
    HandshakeError, InvalidHeader, InvalidUrl, MissingFeature, ProtocolError, ProxyError,
    RedirectError, SendError, StatusCode,
};

use crate::support::authority::{Authority, authority_as_server};

const TIMEOUT: Duration = Duration::from_secs(30);

#[track_caller]
fn check(error: &(impl StdError + ?Sized), expected: &str) {
    assert_eq!(error.to_string(), expected);
}

fn closed(code: StatusCode, reason: &str) -> Error {
    CloseError::new(code, reason).into()
}

fn tcp() -> DialError {
    DialError::Tcp("127.0.0.1:1: Connection refused (os error 111)".into())
}

#[test]
fn the_text_of_an_error_is_complete() {
    use ws_client::http::header;

    let rows: &[(DialError, &str)] = &[
        (
            InvalidUrl::Relative.into(),
            "the URL is invalid: it is not an absolute URL, such as wss://example.com/chat",
        ),
        (
            InvalidUrl::Scheme("ftp".into()).into(),
            "the URL is invalid: its scheme is `ftp`, not one of ws, wss, http, https",
        ),
        (InvalidUrl::Host.into(), "the URL is invalid: its host is invalid"),
        (
            InvalidUrl::NotAscii.into(),
            "the URL is invalid: its host is not ASCII: enable the feature `idn` of ws-client, or \
             write it as xn--…",
        ),
        (
            InvalidHeader::Reserved(header::SEC_WEBSOCKET_PROTOCOL).into(),
            "a header cannot be sent (`Dial::header`): `sec-websocket-protocol` is set by the \
             opening handshake: use `Dial::subprotocols`",
        ),
        (
            MissingFeature::Tls.into(),
            "a `wss` URL needs TLS: enable a TLS feature of ws-client, such as `rustls-tls`",
        ),
        (MissingFeature::Http2.into(), "`Dialer::http2` needs the feature `http2` of ws-client"),
        (
            MissingFeature::Deflate.into(),
            "`Dial::compression` needs the feature `deflate` of ws-client",
        ),
        (MissingFeature::Proxy.into(), "`Dialer::proxy` needs the feature `proxy` of ws-client"),
        (
            DialError::Dns("no.example: Name or service not known".into()),
            "the DNS lookup of the server failed: no.example: Name or service not known",
        ),
        (
            tcp(),
            "the TCP connection to the server failed: 127.0.0.1:1: Connection refused (os error 111)",
        ),
        (
            ProxyError::Unreachable(Box::new(tcp())).into(),
            "the proxy did not connect to the server (`Dialer::proxy`, or the environment): the \
             proxy cannot be reached: the TCP connection to the server failed: 127.0.0.1:1: \
             Connection refused (os error 111)",
        ),
        (
            io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            "the stream failed during the opening handshake: unexpected end of file",
        ),
        (
            RedirectError::TooMany(10).into(),
            "the redirect was not followed: there were more than 10 redirects \
             (`Dial::max_redirects`)",
        ),
        (
            RedirectError::Url(InvalidUrl::Scheme("ftp".into())).into(),
            "the redirect was not followed: the URL of the redirect is invalid: its scheme is \
             `ftp`, not one of ws, wss, http, https",
        ),
        (
            HandshakeError::AcceptMissing.into(),
            "the server's response does not match the handshake request: the response has no \
             `Sec-WebSocket-Accept`",
        ),
        (
            DialError::InAsyncCode,
            "a blocking call in async code: use the async API, or `tokio::task::spawn_blocking`",
        ),
    ];
    for (error, text) in rows {
        check(error, text);
        assert!(error.source().is_none(), "its text would be printed twice: {error}");
    }

    let rows: &[(Error, &str)] = &[
        (closed(StatusCode::GOING_AWAY, "restart"), "closed with 1001 going away: restart"),
        (closed(StatusCode::NORMAL_CLOSURE, ""), "closed with 1000 normal closure"),
        (
            closed(StatusCode::ABNORMAL_CLOSURE, "reset by peer"),
            "the connection ended without a close frame (1006): reset by peer",
        ),
        (
            ProtocolError::Masked.into(),
            &format!("the peer violated the WebSocket protocol: {}", ProtocolError::Masked),
        ),
        (Error::Timeout(Deadline::Keepalive), "the peer sent nothing within `Config::keepalive`"),
        (SendError::Reason(124).into(), "a close reason has at most 123 bytes, not 124"),
        (
            Error::Io(Arc::new(io::ErrorKind::PermissionDenied.into())),
            "the transport failed: permission denied",
        ),
        (
            CodecError::Decode(Arc::new(serde_json::from_str::<u8>("[7]").unwrap_err())).into(),
            "the message is not a valid value: invalid type: sequence, expected u8 at line 1 \
             column 0",
        ),
        (
            CodecError::Encode(Arc::new(io::Error::other("no such key"))).into(),
            "the value cannot be encoded: no such key",
        ),
    ];
    for (error, text) in rows {
        check(error, text);
        assert!(error.source().is_none(), "its text would be printed twice: {error}");
    }

    check(
        &ReconnectError::GaveUp(tcp().into()),
        "no more attempts to connect: no connection could be opened: the TCP connection to the \
         server failed: 127.0.0.1:1: Connection refused (os error 111)",
    );
    check(
        &ConnectionFailure::Hook(Arc::new(closed(StatusCode::TRY_AGAIN_LATER, "busy"))),
        "a hook of the application failed: closed with 1013 try again later: busy",
    );
    let ended = |by, code| ConnectionFailure::Ended(CloseInfo::new(by, closed(code, "")));
    check(
        &ReconnectError::GaveUp(ended(CloseInitiator::Peer, StatusCode::NORMAL_CLOSURE)),
        "no more attempts to connect: the peer closed with 1000 normal closure",
    );
    check(
        &ended(CloseInitiator::Transport, StatusCode::ABNORMAL_CLOSURE),
        "the connection ended without a close frame (1006)",
    );
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Accepts one connection, sends an answer to whatever arrives first, and ends it.
async fn answers(answer: impl Into<Vec<u8>>) -> String {
    let (listener, answer) = (listen().await, answer.into());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut io, _) = listener.accept().await?;
        let read = io.read(&mut [0; 4096]).await?;
        assert!(read > 0);
        io.write_all(&answer).await?;
        io.shutdown().await?;
        // Until the peer has read the answer.
        io.read_to_end(&mut Vec::new()).await
    });
    address.to_string()
}

async fn dial(url: &str, dialer: Dialer) -> DialError {
    let dialling = Dial::new(url).dialer(&dialer.no_proxy()).connect();
    timeout(TIMEOUT, dialling).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_refusal_says_what_may_help_and_starts_with_its_body() {
    let refused = async |status: &str, body: &str, expected: &str| {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let url = format!("ws://{}", answers(answer).await);
        check(&dial(&url, Dialer::new()).await, &format!("the server refused with {expected}"));
    };
    refused("500 a", "", "500 Internal Server Error").await;
    refused(
        "403 a",
        "origin https://a.example:\n  not allowed\x1b[31m",
        "403 Forbidden (it may require `Dial::origin`, or credentials by `Dial::header`): origin \
         https://a.example: not allowed\\u{1b}[31m",
    )
    .await;
    refused(
        "401 a",
        "no token",
        "401 Unauthorized (`Dial::header` sends credentials, as does a user in the URL): no token",
    )
    .await;
    refused("404 a", "", "404 Not Found (no WebSocket at this path)").await;
    refused("304 a", "", "304 Not Modified (a redirect that is not followed)").await;
    let cut = format!("503 Service Unavailable: {}…", "x".repeat(256));
    refused("503 a", &"x".repeat(1000), &cut).await;
}

#[tokio::test]
async fn a_refusal_of_a_proxy_says_what_may_help() {
    let refused = async |status: &str, expected: &str| {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nbody");
        let dialer = Dialer::new().proxy(format!("http://{}", answers(answer).await));
        let dialling = Dial::new("ws://example.com").dialer(&dialer).connect();
        let error = timeout(TIMEOUT, dialling).await.unwrap().unwrap_err();
        let step = "the proxy did not connect to the server (`Dialer::proxy`, or the environment)";
        check(&error, &format!("{step}: it refused with {expected}"));
    };
    refused(
        "407 a",
        "407 Proxy Authentication Required (its URL may contain a user and a password)",
    )
    .await;
    refused("503 a", "503 Service Unavailable").await;
    for scheme in ["http", "socks5h"] {
        let proxy = answers("").await;
        let dialer = Dialer::new().proxy(format!("{scheme}://ann:pw@{proxy}"));
        let dialling = Dial::new("ws://example.com").dialer(&dialer).connect();
        let error = timeout(TIMEOUT, dialling).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(&format!("it did not open a tunnel: {proxy}: ")), "{error}");
        assert!(!error.contains("pw"), "{error}");
    }
}

#[tokio::test]
async fn tls_in_the_wrong_place_is_named() {
    let authority = Authority::new();
    let plain = answers("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = dial(&format!("wss://{plain}"), Dialer::new().tls(authority.client())).await;
    let text = error.to_string();
    assert!(text.starts_with("the TLS handshake with the server failed: 127.0.0.1: "), "{text}");
    assert!(text.ends_with(" (is it ws:// rather than wss://?)"), "{text}");

    let silent = answers("").await;
    let error = dial(&format!("wss://{silent}"), Dialer::new().tls(authority.client())).await;
    assert!(error.to_string().ends_with(" (is it ws:// rather than wss://?)"), "{error}");

    let listener = listen().await;
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let acceptor = authority.server(false, &[]);
    tokio::spawn(async move { acceptor.accept(listener.accept().await?.0).await });
    let text = "the server's response does not match the handshake request: the server answered \
                with TLS: is it wss:// rather than ws://?";
    check(&dial(&url, Dialer::new()).await, text);

    let listener = listen().await;
    let url = format!("wss://{}", listener.local_addr().unwrap());
    let acceptor = authority.server(false, &[]);
    tokio::spawn(async move { acceptor.accept(listener.accept().await?.0).await });
    let error = dial(&url, Dialer::new().tls(Authority::new().client())).await;
    let text = "the TLS handshake with the server failed: 127.0.0.1: invalid peer certificate: \
                BadSignature (`Dialer::tls` sets the trusted roots)";
    check(&error, text);

    let listener = listen().await;
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.server(false, &[]);
    tokio::spawn(async move { acceptor.accept(listener.accept().await?.0).await });
    // The certificate is for 127.0.0.1.
    let dialer = Dialer::new().tls(authority.client());
    let text = dial(&format!("wss://localhost:{port}"), dialer).await.to_string();
    assert!(text.ends_with(" (the URL needs a name that is in the certificate)"), "{text}");

    let listener = listen().await;
    let url = format!("wss://{}", listener.local_addr().unwrap());
    let (acceptor, roots) = authority_as_server("127.0.0.1");
    tokio::spawn(async move { acceptor.accept(listener.accept().await?.0).await });
    let tls = ws_client::rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let text = dial(&url, Dialer::new().tls(tls)).await.to_string();
    assert!(text.ends_with("make it with `basicConstraints=critical,CA:FALSE`)"), "{text}");
}

#[tokio::test]
async fn a_failed_dial_names_the_address() {
    let address = listen().await.local_addr().unwrap();
    let error = dial(&format!("ws://{address}"), Dialer::new()).await.to_string();
    let start = format!("the TCP connection to the server failed: {address}: Connection refused");
    assert!(error.starts_with(&start), "{error}");
    let error = dial("ws://no-such-host.invalid", Dialer::new()).await.to_string();
    let start = "the DNS lookup of the server failed: no-such-host.invalid: ";
    assert!(error.starts_with(start), "{error}");
    let server = answers("").await;
    let error = dial(&format!("ws://ann:pw@{server}/?token=secret"), Dialer::new()).await;
    let text = "the stream failed during the opening handshake: SERVER: unexpected end of file";
    check(&error, &text.replace("SERVER", &server));
    let server = answers("not HTTP/2").await;
    let error =
        dial(&format!("ws://ann:pw@{server}/"), Dialer::new().http2_only()).await.to_string();
    assert!(error.starts_with(&format!("the HTTP exchange failed: {server}: ")), "{error}");
}

#[tokio::test]
async fn a_timeout_names_the_server_and_what_it_waited_for() {
    let authority = Authority::new();
    // A peer that reads and does not answer: the server, or the proxy to `server`.
    let check_waiting = async |scheme: &str, server: Option<&str>, waiting: &str| {
        let listener = listen().await;
        let address = listener.local_addr().unwrap().to_string();
        let dialer = Dialer::new().tls(authority.client());
        let dialer = match server {
            Some(_) => dialer.proxy(format!("http://ann:pw@{address}")),
            None => dialer.no_proxy(),
        };
        let server = server.unwrap_or(&address);
        let url = format!("{scheme}://ann:pw@{server}/?token=secret");
        let dialling = tokio::spawn(Dial::new(url).dialer(&dialer).connect());
        let (mut silent, _) = timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
        let read = timeout(TIMEOUT, silent.read(&mut [0; 4096])).await.unwrap();
        assert!(read.unwrap() > 0);
        tokio::time::pause();
        let error = dialling.await.unwrap().unwrap_err();
        tokio::time::resume();
        let text = format!(
            "the opening handshake with {server} took longer than 30s (`Dial::connect_timeout`), \
             waiting for the {waiting}"
        );
        check(&error, &text);
    };
    check_waiting("ws", None, "response").await;
    check_waiting("wss", None, "TLS handshake").await;
    check_waiting("ws", Some("example.com:80"), "connection").await;
}
