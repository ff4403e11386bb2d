//! Does any `Debug` or `Display` of the client show a secret?

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode as Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use ws_client::reconnect::{ConnectionFailure, ReconnectError, ReconnectState};
use ws_client::{Compression, Dial, Dialer, Reconnect, reqwest};
use ws_core::handshake::{Acceptor, HandshakeRequest, Offer};
use ws_core::{AcceptOptions, Origin, RequestInfo};

const SECRET: &str = "s3cr3t";

fn check(of: &str, printed: impl AsRef<str>) {
    let printed = printed.as_ref();
    assert!(!printed.to_ascii_lowercase().contains(SECRET), "{of}: {printed}");
}

/// Checks an error and all of its causes.
fn check_error(of: &str, error: &(dyn StdError + 'static)) {
    let mut next = Some(error);
    while let Some(cause) = next {
        check(of, format!("{cause} {cause:?}"));
        next = cause.source();
    }
}

/// A dial with a secret in every setting that may have one.
fn dial(url: &str) -> Dial {
    Dial::new(url)
        .dialer(&Dialer::new().no_proxy())
        .header("authorization", "Bearer s3cr3t")
        .header("proxy-authorization", "Bearer s3cr3t")
        .header("cookie", "sid=s3cr3t")
        .origin("https://example.com")
        .subprotocols(["chat", "token.s3cr3t"])
        .connect_timeout(Duration::from_secs(20))
}

const QUERY: &str = "token=s3cr3t&s3cr3t";

#[tokio::test]
async fn settings_show_no_secret() {
    let url = format!("wss://s3cr3t:s3cr3t@example.com/chat?{QUERY}");
    let dial = dial(&url);
    check("Dial", format!("{dial:?} {dial:#?}"));
    assert!(format!("{dial:?}").contains("https://example.com/chat?token=***"), "{dial:?}");
    check("Reconnect", format!("{:?}", Reconnect::new(dial.clone())));
    let dialer = Dialer::new().proxy("http://s3cr3t:s3cr3t@127.0.0.1:1");
    check("Dialer", format!("{dialer:?} {:?}", dial.clone().dialer(&dialer)));
    let headers = HeaderMap::from_iter([(AUTHORIZATION, "s3cr3t".parse().unwrap())]);
    let client = reqwest::Client::builder()
        .default_headers(headers)
        .proxy(reqwest::Proxy::all("http://s3cr3t:s3cr3t@127.0.0.1:1").unwrap())
        .build()
        .unwrap();
    check("Dial::client", format!("{:?}", dial.client(client)));
}

#[tokio::test]
async fn errors_of_settings_show_no_secret() {
    for url in [
        "s3cr3t:s3cr3t@example.com",
        "s3cr3t@example.com",
        "//s3cr3t@example.com",
        "ftp://s3cr3t:s3cr3t@example.com/?s3cr3t",
        "ws://s3cr3t:s3cr3t@example.com:99999",
        "ws://s3cr3t@example.com/?s3cr3t#s3cr3t",
        "ws://s3cr3t@[::1%25s3cr3t%2F]/",
    ] {
        let dial = Dial::new(url);
        check(url, format!("{dial:?}"));
        check_error(url, &dial.connect().await.unwrap_err());
        let proxied = Dial::new("ws://example.com").dialer(&Dialer::new().proxy(url));
        check(url, format!("{proxied:?}"));
        check_error(url, &proxied.connect().await.unwrap_err());
    }
    for bad in [
        dial("ws://example.com").header("authorization", "s3cr3t\n"),
        dial("ws://example.com").header("s3cr3t s3cr3t", "a"),
        dial("ws://example.com").subprotocols(["s3cr3t", "s3cr3t"]),
        dial("ws://example.com").subprotocols(["s3cr3t s3cr3t"]),
    ] {
        check("Dial", format!("{bad:?}"));
        check_error("settings", &bad.connect().await.unwrap_err());
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Answers each request, over a stream or a proxy.
async fn answer(answer: &str) -> String {
    let listener = listen().await;
    let (addr, answer) = (listener.local_addr().unwrap(), answer.to_owned());
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut input = Vec::new();
                while !input.ends_with(b"\r\n\r\n") {
                    input.push(io.read_u8().await?);
                }
                io.write_all(answer.as_bytes()).await?;
                io.shutdown().await
            });
        }
    });
    format!("s3cr3t:s3cr3t@{addr}")
}

/// What an HTTP/2 server does with a request.
#[derive(Clone)]
enum Http2Answer {
    Respond(u16, &'static [(&'static str, &'static str)]),
    Reset(Reason),
    HangUp,
}

/// The same over HTTP/2.
async fn answer_http2(answer: Http2Answer) -> String {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol();
                let mut server = builder.handshake::<_, Bytes>(io).await?;
                while let Some((_, mut respond)) = server.accept().await.transpose()? {
                    match answer {
                        Http2Answer::HangUp => break,
                        Http2Answer::Reset(reason) => respond.send_reset(reason),
                        Http2Answer::Respond(status, headers) => {
                            let mut response = Response::builder().status(status);
                            for (name, value) in headers {
                                response = response.header(*name, *value);
                            }
                            respond.send_response(response.body(()).unwrap(), true)?;
                        }
                    }
                }
                Ok::<_, h2::Error>(())
            });
        }
    });
    format!("s3cr3t:s3cr3t@{addr}")
}

/// A port at which nobody listens, and that no other test gets.
fn refuse() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

#[tokio::test]
async fn errors_of_dialling_show_no_secret() {
    let refusing = refuse();
    let closed = refusing.local_addr().unwrap();
    let headers = "set-cookie: sid=s3cr3t\r\nsec-websocket-protocol: s3cr3t";
    let location = "location: https://s3cr3t:s3cr3t@example.com/?token=s3cr3t";
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: wrong";
    let answers = [
        format!("HTTP/1.1 403 No\r\n{headers}\r\n{location}\r\ncontent-length: 0\r\n\r\n"),
        format!("HTTP/1.1 302 Go\r\n{headers}\r\n{location}\r\n\r\n"),
        "HTTP/1.1 302 Go\r\nlocation: s3cr3t:s3cr3t@example.com\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Go\r\nlocation: ftp://s3cr3t@example.com\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Go\r\nlocation: //s3cr3t@example.com:99999\r\n\r\n".to_owned(),
        format!("HTTP/1.1 101 Yes\r\n{headers}\r\n{upgrade}\r\n\r\n"),
        format!("HTTP/1.1 407 Who\r\n{headers}\r\nproxy-authenticate: Basic\r\n\r\n"),
        "s3cr3t\r\n\r\n".to_owned(),
        String::new(),
    ];
    let mut errors = Vec::new();
    for text in &answers {
        let server = answer(text).await;
        let url = format!("ws://{server}/?{QUERY}");
        let client = reqwest::Client::builder().http1_only().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let refusing = dial(&url).max_redirects(0);
        for dial in [refusing.clone(), refusing.clone().client(client.clone())] {
            errors.push(dial.connect().await.unwrap_err());
        }
        let through = Dialer::new().proxy(format!("http://{server}"));
        errors.push(
            dial(&format!("wss://example.com/?{QUERY}"))
                .dialer(&through)
                .connect()
                .await
                .unwrap_err(),
        );
    }
    // Redirects that are followed, but lead nowhere.
    for text in &answers[2..5] {
        let url = format!("ws://{}/?{QUERY}", answer(text).await);
        errors.push(dial(&url).connect().await.unwrap_err());
    }
    for url in [
        format!("ws://s3cr3t:s3cr3t@{closed}/?{QUERY}"),
        format!("ws://s3cr3t:s3cr3t@nowhere.invalid/?{QUERY}"),
    ] {
        errors.push(dial(&url).connect().await.unwrap_err());
        let client = reqwest::Client::builder().http1_only().no_proxy().build().unwrap();
        errors.push(dial(&url).client(client).connect().await.unwrap_err());
    }
    let secrets: &[_] = &[("set-cookie", "sid=s3cr3t"), ("sec-websocket-protocol", "s3cr3t")];
    for answer in [
        Http2Answer::Respond(200, secrets),
        Http2Answer::Respond(403, secrets),
        Http2Answer::Respond(302, &[("location", "https://s3cr3t:s3cr3t@example.com/?s3cr3t")]),
        Http2Answer::Respond(302, &[("location", "s3cr3t:s3cr3t@example.com")]),
        Http2Answer::Respond(302, &[("location", "ftp://s3cr3t@example.com")]),
        Http2Answer::Respond(302, &[("location", "//s3cr3t@example.com:99999")]),
        Http2Answer::Reset(Reason::INTERNAL_ERROR),
        Http2Answer::Reset(Reason::REFUSED_STREAM),
        Http2Answer::Reset(Reason::HTTP_1_1_REQUIRED),
        Http2Answer::HangUp,
    ] {
        let url = format!("ws://{}/?{QUERY}", answer_http2(answer.clone()).await);
        let dial = dial(&url).dialer(&Dialer::new().no_proxy().http2_only());
        errors.push(dial.clone().max_redirects(0).connect().await.unwrap_err());
        if !matches!(answer, Http2Answer::Respond(302, [(_, location)]) if location.contains("/?"))
        {
            errors.push(dial.connect().await.unwrap_err());
        }
    }
    for scheme in ["http", "https", "socks5", "socks4a"] {
        let through = Dialer::new().proxy(format!("{scheme}://s3cr3t:s3cr3t@{closed}"));
        errors.push(dial("ws://127.0.0.1").dialer(&through).connect().await.unwrap_err());
    }
    for error in errors {
        check_error("DialError", &error);
        if let Some(response) = error.refused_response() {
            check("RefusedResponse", format!("{response:?} {response:#?}"));
        }
        check("DialError", format!("{error:#?}"));
        let failure = ConnectionFailure::Dial(Arc::new(error));
        let ended = ReconnectState::Ended(ReconnectError::GaveUp(failure.clone()));
        check("ReconnectState", format!("{ended:?}"));
        check_error("ReconnectError", &ReconnectError::GaveUp(failure));
    }
}

#[tokio::test]
async fn requests_and_connections_show_no_secret() {
    let options = AcceptOptions::new().subprotocols(["chat"]).origin(Origin::any());
    let options = options.response_header(SET_COOKIE, "sid=s3cr3t".parse().unwrap());
    let acceptor = Acceptor::new(&options);
    check("AcceptOptions", format!("{options:?} {options:#?}"));
    check("Acceptor", format!("{acceptor:?} {acceptor:#?}"));
    let offer = Offer::new(["chat", "token.s3cr3t"], Compression::no_context_takeover()).unwrap();
    check("Offer", format!("{offer:?}"));
    let mut request = Request::get(format!("http://s3cr3t:s3cr3t@example.com/?{QUERY}"))
        .header(AUTHORIZATION, "s3cr3t")
        .header(COOKIE, "sid=s3cr3t")
        .header("host", "example.com")
        .header("referer", "http://example.com/?s3cr3t")
        .body(())
        .unwrap();
    request.headers_mut().extend(offer.headers());
    check("HandshakeRequest", format!("{:?}", HandshakeRequest::from(&request)));
    // A server rejects userinfo.
    *request.uri_mut() = format!("http://example.com/?{QUERY}").parse().unwrap();
    let accepted = acceptor.answer(&request).unwrap();
    assert_eq!(accepted.response.headers()[SET_COOKIE], "sid=s3cr3t");
    check("Accepted", format!("{accepted:?}"));
    check("RequestInfo", format!("{:?}", RequestInfo::new(request.into_parts().0)));

    let listener = listen().await;
    let url = format!("ws://s3cr3t:s3cr3t@{}/?{QUERY}", listener.local_addr().unwrap());
    let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await.unwrap() };
    let (client, server) = tokio::join!(dial(&url).connect(), accept);
    let client = client.unwrap();
    assert_eq!(client.response().unwrap().status(), Status::SWITCHING_PROTOCOLS);
    for conn in [client, server] {
        check("Conn", format!("{conn:?} {:?} {:?}", conn.attributes(), conn.span()));
        check("request", format!("{:?}", conn.request()));
    }
    let reconnect = Reconnect::new(dial(&url)).max_attempts(1).start();
    check("ReconnectingConn", format!("{reconnect:?}"));
}
