//! Does `Dial` open the configured connection, and name the step that failed?

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, LOCATION, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};
use ws_client::{
    Compression, Config, Conn, Dial, DialError, Dialer, HandshakeError, InvalidHeader, Limits,
    Message, RedirectError, RefusedResponse, StatusCode, reqwest,
};
use ws_core::Acceptor;
use ws_core::handshake::head::{decode_request, encode_response};
use ws_core::{AcceptOptions, Origin};

/// How the client connects to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// `Dial::connect` with a `Dialer`.
    Own,
    /// `Dial::client`.
    Client,
    /// `Dial::connect_over` with a TCP stream.
    Tcp,
    /// `Dial::connect_over` with an in-memory pipe.
    Pipe,
}

const WAYS: [Way; 4] = [Way::Own, Way::Client, Way::Tcp, Way::Pipe];

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Dialled = Result<Conn, DialError>;

/// Dials in one of the ways, and runs a server.
async fn dial<T>(
    way: Way,
    path: &str,
    set: impl FnOnce(Dial) -> Dial,
    serve: impl AsyncFnOnce(Box<dyn Stream>) -> T,
) -> (Dialled, T) {
    if way == Way::Pipe {
        let (ours, theirs) = duplex(16 * 1024);
        let dial = set(Dial::new(format!("ws://example.com{path}")));
        return tokio::join!(dial.connect_over(ours), serve(Box::new(theirs)));
    }
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let dial = set(Dial::new(format!("ws://{addr}{path}")));
    let dialling = async {
        match way {
            Way::Own => dial.connect().await,
            Way::Client => dial.client(client(|client| client)).connect().await,
            _ => dial.connect_over(TcpStream::connect(addr).await.unwrap()).await,
        }
    };
    let serving = async { serve(Box::new(listener.accept().await.unwrap().0)).await };
    tokio::join!(dialling, serving)
}

/// Dials a server that accepts, and returns both connections.
async fn pair(way: Way, options: &AcceptOptions, set: impl FnOnce(Dial) -> Dial) -> (Conn, Conn) {
    let accept = async |io| Acceptor::new(options).accept(io).await.unwrap();
    let (dialled, server) = dial(way, "/chat?room=1", set, accept).await;
    (dialled.unwrap(), server)
}

/// Dials a server that responds with these bytes, and then keeps its stream open.
async fn answered(way: Way, answer: impl FnOnce(&Request<()>) -> Vec<u8>) -> Dialled {
    let serve = async |mut io: Box<dyn Stream>| {
        let request = read_request(&mut io).await;
        io.write_all(&answer(&request)).await.unwrap();
        io
    };
    let (dialled, _open) = dial(way, "/", |dial| dial, serve).await;
    dialled
}

/// An HTTP client without proxies and redirects.
fn client(set: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> reqwest::Client {
    let client = reqwest::Client::builder().http1_only().no_proxy();
    set(client.redirect(reqwest::redirect::Policy::none())).build().unwrap()
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn read_request(io: &mut (impl AsyncRead + Unpin)) -> Request<()> {
    let mut input = Vec::new();
    while !input.ends_with(b"\r\n\r\n") {
        input.push(io.read_u8().await.unwrap());
    }
    decode_request(&input).unwrap().unwrap().0
}

/// The bytes of a response that accepts, with changed headers.
fn accepting(request: &Request<()>, change: impl FnOnce(&mut HeaderMap)) -> Vec<u8> {
    let mut response =
        Acceptor::new(&AcceptOptions::new()).answer(request).unwrap().response.map(|()| "");
    change(response.headers_mut());
    encode_response(&response)
}

#[tokio::test]
async fn messages_are_exchanged_until_the_close() {
    for way in WAYS {
        let (client, server) = pair(way, &AcceptOptions::new(), |dial| dial).await;
        let response = client.response().unwrap();
        assert_eq!(response.status(), 101);
        assert!(response.headers().contains_key(SEC_WEBSOCKET_ACCEPT));
        for message in [Message::from("hello"), Message::binary(vec![7; 100_000])] {
            let (written, echoed) = tokio::join!(client.write(message.clone()), async {
                let message = server.read().await?;
                server.write(message).await
            });
            written.and(echoed).unwrap();
            assert_eq!(client.read().await.unwrap(), message, "{way:?}");
        }
        let (closed, seen) =
            tokio::join!(client.close(StatusCode::NORMAL_CLOSURE, "bye"), server.read());
        closed.unwrap();
        assert!(seen.unwrap_err().is_close(&[StatusCode::NORMAL_CLOSURE]), "{way:?}");
        assert_eq!(client.peer_addr().is_some(), way != Way::Pipe, "{way:?}");
    }
}

#[tokio::test]
async fn a_url_is_enough_to_dial() {
    let listener = listen().await;
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = async {
        Acceptor::new(&AcceptOptions::new()).accept(listener.accept().await.unwrap().0).await
    };
    let (client, server) = tokio::join!(ws_client::dial(&url), serving);
    client.unwrap().write("hello").await.unwrap();
    assert_eq!(server.unwrap().read().await.unwrap().as_text(), Some("hello"));
}

#[tokio::test]
async fn headers_and_host_are_sent() {
    for way in WAYS {
        let options = AcceptOptions::new().origin(Origin::any());
        let (_client, server) = pair(way, &options, |dial| {
            dial.header("x-key", "a")
                .header(HeaderName::from_static("x-key"), HeaderValue::from_static("b"))
                .header("cookie", "one=1")
                .header("host", "chat.example:8080")
                .origin("https://other.example")
                .origin("https://example.com")
        })
        .await;
        let request = server.request().unwrap();
        assert_eq!((request.uri.path(), request.query("room").as_deref()), ("/chat", Some("1")));
        let values = request.headers.get_all("x-key").iter().collect::<Vec<_>>();
        assert_eq!(values, ["a", "b"]);
        assert_eq!(request.cookie("one"), Some("1"));
        let hosts = request.headers.get_all(HOST).iter().collect::<Vec<_>>();
        assert_eq!(hosts, ["chat.example:8080"]);
        let origins = request.headers.get_all("origin").iter().collect::<Vec<_>>();
        assert_eq!(origins, ["https://example.com"]);
        assert!(!request.headers.contains_key("accept-encoding"));
    }
}

#[tokio::test]
async fn a_subprotocol_is_negotiated() {
    for way in WAYS {
        let options = AcceptOptions::new().subprotocols(["chat.v1"]);
        let (client, server) =
            pair(way, &options, |dial| dial.subprotocols(["chat.v2", "chat.v1"])).await;
        assert_eq!(client.subprotocol(), Some("chat.v1"));
        assert_eq!(server.subprotocol(), Some("chat.v1"));
        let (client, _) = pair(way, &options, |dial| dial.subprotocols(["other"])).await;
        assert_eq!(client.subprotocol(), None);
    }
}

#[tokio::test]
async fn compression_is_negotiated_and_used() {
    let text = "the same again and again, ".repeat(1000);
    for way in WAYS {
        for compression in [Compression::no_context_takeover(), Compression::context_takeover()] {
            let options = AcceptOptions::new().compression(compression);
            let config = Config::new().compression(compression);
            let (client, server) = pair(way, &options, |dial| dial.config(config)).await;
            assert!(client.is_compressed() && server.is_compressed());
            client.write(text.as_str()).await.unwrap();
            assert_eq!(server.read().await.unwrap().as_text(), Some(text.as_str()));
            server.write(text.as_str()).await.unwrap();
            assert_eq!(client.read().await.unwrap().as_text(), Some(text.as_str()));
            assert!(client.stats().bytes_out < 1000 && client.stats().bytes_in < 1000);
        }
        let on = Compression::context_takeover();
        let (client, _) = pair(way, &AcceptOptions::new().compression(on), |dial| dial).await;
        assert!(!client.is_compressed(), "it is off by default");
        let (client, _) = pair(way, &AcceptOptions::new(), |dial| dial.compression(on)).await;
        assert!(!client.is_compressed(), "the server may decline");
    }
}

#[tokio::test]
async fn settings_give_the_same_result_in_any_order() {
    let compression = Compression::context_takeover();
    let config = || Config::new().limits(Limits::new().message_size(20));
    let before = move |dial: Dial| dial.config(config()).compression(compression).read_limit(10);
    let after = move |dial: Dial| dial.read_limit(10).compression(compression).config(config());
    for set in [Box::new(before) as Box<dyn Fn(Dial) -> Dial>, Box::new(after)] {
        let options = AcceptOptions::new().compression(compression);
        let (client, server) = pair(Way::Own, &options, set).await;
        assert!(client.is_compressed());
        server.write("ten bytes.").await.unwrap();
        client.read().await.unwrap();
        server.write("11 bytes...").await.unwrap();
        let error = client.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
    }
    let before = |dial: Dial| dial.origin("https://a.example").header("origin", "https://b");
    let after = |dial: Dial| dial.header("origin", "https://b").origin("https://a.example");
    let options = AcceptOptions::new().origin(Origin::any());
    for set in [before as fn(Dial) -> Dial, after] {
        let (_client, server) = pair(Way::Pipe, &options, set).await;
        let request = server.request().unwrap();
        let origins: Vec<_> = request.headers.get_all(ORIGIN).iter().collect();
        assert_eq!(origins, ["https://a.example"]);
    }
}

#[tokio::test]
async fn the_read_limit_is_enforced() {
    let limit = |dial: Dial| dial.read_limit(10);
    let config = |dial: Dial| dial.config(Config::new().limits(Limits::new().message_size(10)));
    for set in [limit, config] {
        let (client, server) = pair(Way::Own, &AcceptOptions::new(), set).await;
        server.write("ten bytes.").await.unwrap();
        client.read().await.unwrap();
        server.write("11 bytes...").await.unwrap();
        let error = client.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
    }
}

#[tokio::test]
async fn the_user_of_the_url_is_sent() {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let check = async |set: fn(Dial) -> Dial, given: bool, expected: &str| {
        let dial = set(Dial::new(format!("ws://user:p%40ss@{addr}/")));
        let dialling = async {
            if given {
                return dial.connect_over(TcpStream::connect(addr).await.unwrap()).await;
            }
            dial.connect().await
        };
        let (client, server) = tokio::join!(dialling, async {
            Acceptor::new(&AcceptOptions::new())
                .accept(listener.accept().await.unwrap().0)
                .await
                .unwrap()
        });
        client.unwrap();
        let request = server.request().unwrap();
        let values = request.headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>();
        assert_eq!(values, [expected]);
    };
    for given in [false, true] {
        check(|dial| dial, given, "Basic dXNlcjpwQHNz").await;
        check(|dial| dial.header("authorization", "Bearer 1"), given, "Bearer 1").await;
    }
}

#[tokio::test]
async fn bytes_after_the_response_are_kept() {
    for way in WAYS {
        let conn = answered(way, |request| {
            [accepting(request, |_| {}).as_slice(), b"\x81\x05hello\x82\x01!"].concat()
        })
        .await
        .unwrap();
        assert_eq!(conn.read().await.unwrap(), Message::from("hello"), "{way:?}");
        assert_eq!(conn.read().await.unwrap(), Message::binary("!"), "{way:?}");
    }
}

#[tokio::test]
async fn interim_responses_are_skipped() {
    for way in WAYS {
        let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        let dialled =
            answered(way, |request| [hints, accepting(request, |_| {}).as_slice()].concat()).await;
        assert_eq!(dialled.unwrap().response().unwrap().status(), 101, "{way:?}");
    }
}

/// The given client has the limits of hyper.
const OWN_WAYS: [Way; 3] = [Way::Own, Way::Tcp, Way::Pipe];

#[tokio::test]
async fn eight_interim_responses_are_accepted() {
    for way in OWN_WAYS {
        let interim = async |count| {
            let interim = b"HTTP/1.1 102 Wait\r\n\r\n".repeat(count);
            answered(way, |request| [interim, accepting(request, |_| {})].concat()).await
        };
        interim(8).await.unwrap();
        match interim(9).await.unwrap_err() {
            DialError::Handshake(error) => assert_eq!(error, HandshakeError::TooManyInterim),
            other => panic!("{way:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_response_has_up_to_256_headers() {
    for way in OWN_WAYS {
        let many = async |count| {
            answered(way, |request| {
                accepting(request, |headers| {
                    for number in headers.len()..count {
                        headers.append("x", number.into());
                    }
                })
            })
            .await
        };
        many(150).await.unwrap();
        many(256).await.unwrap();
        match many(257).await.unwrap_err() {
            DialError::Handshake(error) => assert_eq!(error, HandshakeError::HeadTooLarge),
            other => panic!("{way:?}: {other:?}"),
        }
    }
}

/// RFC 9112 §5.2.
#[tokio::test]
async fn a_folded_header_line_is_accepted() {
    for way in WAYS {
        let fold = |request: &Request<()>| {
            let answer = String::from_utf8(accepting(request, |_| {})).unwrap();
            answer
                .replace("accept: ", "accept:\r\n\t")
                .replace("websocket\r\n", "websocket\r\n \r\n")
        };
        let serve = async |mut io: Box<dyn Stream>| {
            let answer = fold(&read_request(&mut io).await);
            assert!(answer.contains("\r\n\t") && answer.contains("\r\n \r\n"), "{answer}");
            io.write_all(answer.as_bytes()).await.unwrap();
            io
        };
        // A given client has to be asked for it.
        let folding = client(|it| it.http1_allow_obsolete_multiline_headers_in_responses(true));
        let dialled = match way {
            Way::Client => {
                let listener = listen().await;
                let dial = Dial::new(format!("ws://{}", listener.local_addr().unwrap()));
                let accept = async { serve(Box::new(listener.accept().await.unwrap().0)).await };
                tokio::join!(dial.client(folding).connect(), accept).0
            }
            way => dial(way, "/", |dial| dial, serve).await.0,
        };
        dialled.unwrap();
    }
}

/// The zone selects the interface, and is not sent.
#[tokio::test]
async fn an_address_with_a_zone_is_dialled() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for zone in ["lo", "1"] {
        let dial = Dial::new(format!("ws://[::1%25{zone}]:{port}"));
        let dialling = dial.dialer(&Dialer::new().no_proxy()).connect();
        let serving = async { Ok(redirect(&listener, |_| None).await) };
        let (_conn, request) = tokio::try_join!(dialling, serving).unwrap();
        assert_eq!(request.headers()[HOST], format!("[::1]:{port}"));
    }
    let dial = Dial::new(format!("ws://[::1%25nowhere]:{port}"));
    let error = dial.dialer(&Dialer::new().no_proxy()).connect().await.unwrap_err();
    assert!(matches!(error, DialError::Tcp(_)), "{error:?}");
}

#[tokio::test]
async fn a_response_that_does_not_match_the_request_is_an_error() {
    use HandshakeError as E;
    let check = async |name: HeaderName, value: Option<&'static str>, expected: E| {
        for way in WAYS {
            let dialled = answered(way, |request| {
                accepting(request, |headers| match value {
                    Some(value) => drop(headers.insert(&name, HeaderValue::from_static(value))),
                    None => drop(headers.remove(&name)),
                })
            });
            match dialled.await.unwrap_err() {
                DialError::Handshake(error) => assert_eq!(error, expected, "{way:?}"),
                other => panic!("{way:?}, {name}: {other:?}"),
            }
        }
    };
    let of_another_key = Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    check(SEC_WEBSOCKET_ACCEPT, of_another_key, E::AcceptWrong).await;
    check(SEC_WEBSOCKET_ACCEPT, None, E::AcceptMissing).await;
    check(SEC_WEBSOCKET_EXTENSIONS, Some("permessage-deflate"), E::ExtensionNotOffered).await;
    check(SEC_WEBSOCKET_PROTOCOL, Some("chat"), E::SubprotocolNotOffered).await;
    check(UPGRADE, Some("h2c"), E::Upgrade).await;
    check(UPGRADE, Some("foo, websocket"), E::Upgrade).await;
    check(UPGRADE, Some("websocket, foo"), E::Upgrade).await;
    check(CONNECTION, Some("close"), E::Connection).await;
}

async fn refused(way: Way, answer: &[u8]) -> RefusedResponse {
    answered(way, |_| answer.to_vec()).await.unwrap_err().refused_response().unwrap().clone()
}

#[tokio::test]
async fn a_refused_response_is_reported() {
    let check = async |status: u16, headers: &str, body: &str, expected: &str| {
        let answer = format!("HTTP/1.1 {status} No\r\nx-why: so\r\n{headers}\r\n{body}");
        for way in WAYS {
            let response = refused(way, answer.as_bytes()).await;
            assert_eq!(response.status, status);
            assert_eq!(response.headers.get("x-why").unwrap(), "so");
            assert_eq!(response.body_text(), expected, "{way:?}");
        }
    };
    let long = "x".repeat(5000);
    check(403, "content-length: 5000\r\n", &long, &long[..1024]).await;
    check(403, "connection: close\r\n", &long, &long[..1024]).await;
    let chunked = format!("1388\r\n{long}\r\n0\r\n\r\n");
    check(403, "transfer-encoding: chunked\r\n", &chunked, &long[..1024]).await;
    check(401, "content-length: 8\r\n", "who? me?", "who? me?").await;
    let chunked = "4\r\nwho?\r\n4\r\n me?\r\n0\r\n\r\n";
    check(401, "transfer-encoding: chunked\r\n", chunked, "who? me?").await;
    check(200, "content-length: 0\r\n", "", "").await;
    check(204, "", "", "").await;
    check(307, "content-length: 0\r\n", "", "").await;
}

#[tokio::test]
async fn connect_over_follows_no_redirect() {
    let answer = b"HTTP/1.1 307 No\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n";
    let response = refused(Way::Pipe, answer).await;
    assert_eq!(response.status, 307);
    assert_eq!(response.headers[LOCATION], "/new");
}

#[tokio::test(start_paused = true)]
async fn a_late_body_is_not_waited_for() {
    let answer = b"HTTP/1.1 403 No\r\ncontent-length: 5000\r\n\r\nso";
    let started = Instant::now();
    assert_eq!(refused(Way::Pipe, answer).await.body_text(), "so");
    assert_eq!(started.elapsed().as_secs(), 3);

    let serve = async |mut io: Box<dyn Stream>| {
        io.write_all(answer).await.unwrap();
        io
    };
    let started = Instant::now();
    let set = |dial: Dial| dial.connect_timeout(Duration::from_secs(2));
    let (dialled, _open) = dial(Way::Pipe, "/", set, serve).await;
    assert_eq!(dialled.unwrap_err().refused_response().unwrap().body, "so");
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_respond_times_out() {
    let silent = async |io| io;
    for way in WAYS {
        let set = |dial: Dial| dial.connect_timeout(Duration::from_secs(5));
        let started = Instant::now();
        let (dialled, _open) = dial(way, "/", set, silent).await;
        let error = dialled.unwrap_err();
        let expected = Duration::from_secs(5);
        assert!(matches!(&error, DialError::Timeout(it) if it.limit == expected), "{error:?}");
        assert!(error.to_string().contains("5s (`Dial::connect_timeout`)"), "{error}");
        assert_eq!(started.elapsed().as_secs(), 5, "{way:?}");
    }
    let started = Instant::now();
    let (dialled, _open) = dial(Way::Pipe, "/", |dial| dial, silent).await;
    assert!(matches!(dialled.unwrap_err(), DialError::Timeout(_)));
    assert_eq!(started.elapsed().as_secs(), 30, "the default");
    let hour = Duration::from_secs(3600);
    let endless = dial(Way::Pipe, "/", Dial::no_connect_timeout, silent);
    assert!(timeout(hour, endless).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_trickles_does_not_extend_the_deadline() {
    let (ours, mut theirs) = duplex(1024);
    tokio::spawn(async move {
        let mut seconds = interval(Duration::from_secs(1));
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nx: ".iter().chain([b'y'; 1000].iter()) {
            seconds.tick().await;
            theirs.write_u8(*byte).await.unwrap();
        }
    });
    let dial = Dial::new("ws://example.com").connect_timeout(Duration::from_secs(60));
    assert!(matches!(dial.connect_over(ours).await.unwrap_err(), DialError::Timeout(_)));
}

#[tokio::test]
async fn an_invalid_response_is_an_error() {
    let check =
        async |answer: &[u8], client: fn(&DialError) -> bool, own: fn(&DialError) -> bool| {
            for way in WAYS {
                let serve = async |mut io: Box<dyn Stream>| {
                    read_request(&mut io).await;
                    // The client may close first.
                    let _ = io.write_all(answer).await;
                    let _ = io.shutdown().await;
                };
                let error = dial(way, "/", |dial| dial, serve).await.0.unwrap_err();
                let expected = if way == Way::Client { client } else { own };
                assert!(expected(&error), "{way:?}: {error:?}");
            }
        };
    let http = |error: &DialError| matches!(error, DialError::Http(_));
    let eof = |error: &DialError| matches!(error, DialError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof);
    check(b"", http, eof).await;
    check(b"HTTP/1.1 101", http, eof).await;
    check(b"SSH-2.0-OpenSSH_9.6\r\n", http, |error| {
        matches!(error, DialError::Handshake(HandshakeError::HeadMalformed))
    })
    .await;
    let long = [b"HTTP/1.1 101 Yes\r\nx: ".as_slice(), &[b'y'; 1024 * 1024]].concat();
    check(&long, http, |error| matches!(error, DialError::Handshake(HandshakeError::HeadTooLarge)))
        .await;
}

/// A port at which nobody listens, and that no other test gets.
fn refuse() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

#[tokio::test]
async fn an_error_names_the_step_that_failed() {
    let check = async |url: &str, expected: fn(&DialError) -> bool, text: &str| {
        let dial = Dial::new(url).dialer(&Dialer::new().no_proxy());
        for dial in [dial.clone(), dial.client(client(|client| client))] {
            let error = dial.connect().await.unwrap_err();
            assert!(expected(&error), "{error:?}");
            assert!(error.to_string().contains(text), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    };
    let refusing = refuse();
    let closed = refusing.local_addr().unwrap();
    let tcp = |error: &DialError| matches!(error, DialError::Tcp(_));
    check(&format!("ws://{closed}/?token=secret"), tcp, "TCP connection").await;
    // This name never exists (RFC 6761 §6.4).
    let dns = |error: &DialError| matches!(error, DialError::Dns(_));
    check("ws://nowhere.invalid/?token=secret", dns, "DNS lookup").await;

    // A server without TLS.
    let plain = listen().await;
    let url = format!("wss://{}/?token=secret", plain.local_addr().unwrap());
    let tls = |error: &DialError| matches!(error, DialError::Tls(_));
    tokio::select! {
        () = check(&url, tls, "TLS") => {}
        () = async {
            while let Ok((mut io, _)) = plain.accept().await {
                let _ = io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        } => unreachable!(),
    }
}

/// Redirects each request to `location` of its path, until that is `None`. Then accepts, and
/// returns the request.
async fn redirect(
    listener: &TcpListener,
    location: impl Fn(&str) -> Option<String>,
) -> Request<()> {
    loop {
        let mut io = listener.accept().await.unwrap().0;
        let request = read_request(&mut io).await;
        let Some(location) = location(request.uri().path()) else {
            io.write_all(&accepting(&request, |_| {})).await.unwrap();
            return request;
        };
        let response = Response::builder().status(307).header(LOCATION, location).body("");
        io.write_all(&encode_response(&response.unwrap())).await.unwrap();
    }
}

#[tokio::test]
async fn redirects_are_followed() {
    let (listener, other) = (listen().await, listen().await);
    let addr = listener.local_addr().unwrap();
    for location in ["/new".to_owned(), format!("http://{addr}/new"), format!("ws://{addr}/new")] {
        let dial = Dial::new(format!("ws://user@{addr}/old")).header("cookie", "a=b");
        let (dialled, request) = tokio::join!(
            dial.connect(),
            redirect(&listener, |path| (path == "/old").then(|| location.clone()))
        );
        dialled.unwrap();
        assert_eq!(request.uri().path(), "/new");
        assert!(request.headers().contains_key(AUTHORIZATION), "it is the same server");
        assert!(request.headers().contains_key(COOKIE));
    }

    let elsewhere = other.local_addr().unwrap();
    let dial = Dial::new(format!("ws://user@{addr}/old"))
        .header("cookie", "a=b")
        .header("host", "example.com")
        .header("x-key", "1")
        .subprotocols(["chat", "token.secret"])
        .origin(format!("http://{elsewhere}"));
    let first = async {
        let mut io = listener.accept().await.unwrap().0;
        let request = read_request(&mut io).await;
        let location = format!("location: ws://{elsewhere}/old");
        let answer = format!("HTTP/1.1 302 Found\r\n{location}\r\ncontent-length: 0\r\n\r\n");
        io.write_all(answer.as_bytes()).await.unwrap();
        request
    };
    // A second redirect on the other server must not restore the credentials.
    let second = redirect(&other, |path| (path == "/old").then(|| "/new".to_owned()));
    let (dialled, first, second) = tokio::join!(dial.connect(), first, second);
    dialled.unwrap();
    for name in [AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL] {
        assert!(first.headers().contains_key(&name), "{name}");
        assert!(!second.headers().contains_key(&name), "{name}");
    }
    assert_eq!(first.headers()[HOST], "example.com");
    assert_eq!(second.headers()[HOST], elsewhere.to_string());
    assert!(!second.headers().contains_key("x-key"));
    assert!(second.headers().contains_key(ORIGIN));
    assert_ne!(first.headers()[SEC_WEBSOCKET_KEY], second.headers()[SEC_WEBSOCKET_KEY]);
}

/// A server that answers with a subprotocol although it was not told of any.
#[tokio::test]
async fn a_subprotocol_that_was_withheld_from_another_origin_is_not_accepted() {
    let (listener, other) = (listen().await, listen().await);
    let check = async |target: &TcpListener, told: &[&str]| {
        let location = format!("ws://{}/new", target.local_addr().unwrap());
        let dial = Dial::new(format!("ws://{}/old", listener.local_addr().unwrap()))
            .redirect_headers(told.iter().copied())
            .subprotocols(["chat", "token.secret"]);
        let serve = async {
            let mut io = listener.accept().await.unwrap().0;
            read_request(&mut io).await;
            let response = Response::builder().status(307).header(LOCATION, location).body("");
            io.write_all(&encode_response(&response.unwrap())).await.unwrap();
            let mut io = target.accept().await.unwrap().0;
            let request = read_request(&mut io).await;
            let answer = accepting(&request, |headers| {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
            });
            io.write_all(&answer).await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial.connect(), serve);
        dialled.map(|conn| conn.subprotocol().map(str::to_owned))
    };
    let refused = check(&other, &[]).await;
    let is_refused =
        matches!(refused, Err(DialError::Handshake(HandshakeError::SubprotocolNotOffered)));
    assert!(is_refused, "{refused:?}");
    assert_eq!(check(&other, &["sec-websocket-protocol"]).await.unwrap().unwrap(), "chat");
    assert_eq!(check(&listener, &[]).await.unwrap().unwrap(), "chat", "it is the same origin");
}

#[tokio::test]
async fn allowed_headers_are_sent_to_another_origin() {
    let (listener, other) = (listen().await, listen().await);
    let (addr, elsewhere) = (listener.local_addr().unwrap(), other.local_addr().unwrap());
    let dial = Dial::new(format!("ws://user@{addr}/old"))
        .redirect_headers(["X-Key", "authorization", "host", "Sec-WebSocket-Protocol"])
        .subprotocols(["chat"])
        .header("authorization", "Bearer 1")
        .header("cookie", "a=b")
        .header("host", "example.com")
        .header("x-key", "1");
    let leave = async || {
        redirect(&listener, |_| Some(format!("ws://{elsewhere}/new"))).await;
    };
    let request = tokio::select! {
        (dialled, request) = async { tokio::join!(dial.connect(), redirect(&other, |_| None)) } => {
            dialled.unwrap();
            request
        }
        () = leave() => unreachable!(),
    };
    assert_eq!(request.headers()["x-key"], "1");
    assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "chat");
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer 1");
    assert_eq!(request.headers()[HOST], elsewhere.to_string());
    assert!(!request.headers().contains_key(COOKIE));
    let error = Dial::new("ws://a").redirect_headers(["a b"]).connect().await.unwrap_err();
    assert!(matches!(error, DialError::Header(InvalidHeader::Name)), "{error:?}");
}

#[tokio::test]
async fn a_redirect_that_is_not_to_be_followed_is_a_refusal() {
    let answer = b"HTTP/1.1 302 Found\r\nlocation: /b\r\nx-why: so\r\ncontent-length: 2\r\n\r\nno";
    for way in WAYS {
        let serve = async |mut io: Box<dyn Stream>| {
            read_request(&mut io).await;
            io.write_all(answer).await.unwrap();
            io
        };
        let (dialled, _open) = dial(way, "/", |dial| dial.max_redirects(0), serve).await;
        let error = dialled.unwrap_err();
        let response = error.refused_response().unwrap();
        assert_eq!((response.status.as_u16(), &*response.body_text()), (302, "no"), "{way:?}");
        assert_eq!(response.headers["x-why"], "so");
    }
}

#[tokio::test]
async fn redirects_are_limited() {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    // The path is the number of remaining redirects.
    let count_down = |path: &str| match path.trim_start_matches('/').parse::<u32>().unwrap() {
        0 => None,
        left => Some(format!("/{}", left - 1)),
    };
    let check = async |redirects: u32, set: fn(Dial) -> Dial, expected: Option<usize>| {
        let dial = set(Dial::new(format!("ws://{addr}/{redirects}"))).connect();
        let dialled = tokio::select! {
            biased;
            // Without a connection, the server never returns.
            dialled = dial => dialled,
            _ = async {
                redirect(&listener, count_down).await;
                std::future::pending::<()>().await
            } => unreachable!(),
        };
        match (dialled, expected) {
            (Ok(_), None) => {}
            (Err(DialError::Redirect(RedirectError::TooMany(limit))), Some(expected)) => {
                assert_eq!(limit, expected);
            }
            (other, _) => panic!("{redirects}: {other:?}"),
        }
    };
    check(10, |dial| dial, None).await;
    check(11, |dial| dial, Some(10)).await;
    check(1, |dial| dial.max_redirects(1), None).await;
    check(2, |dial| dial.max_redirects(1), Some(1)).await;
    check(0, |dial| dial.max_redirects(0), None).await;
}

#[tokio::test]
async fn a_given_client_follows_its_own_redirect_policy() {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let old_to_new = |path: &str| (path == "/old").then(|| "/new".to_owned());
    let following = client(|client| client.redirect(reqwest::redirect::Policy::default()));
    let dial = Dial::new(format!("ws://{addr}/old")).client(following);
    let (dialled, _) = tokio::join!(dial.connect(), redirect(&listener, old_to_new));
    dialled.unwrap();

    let dial = Dial::new(format!("ws://{addr}/old")).client(client(|client| client));
    tokio::select! {
        dialled = dial.connect() => {
            assert_eq!(dialled.unwrap_err().refused_response().unwrap().status, 307);
        }
        request = redirect(&listener, old_to_new) => panic!("{request:?}"),
    }
}

#[tokio::test]
async fn an_http2_client_is_an_error() {
    let listener = listen().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let dial = Dial::new(format!("ws://{}", listener.local_addr().unwrap())).client(client);
    let serve = async {
        let io = TokioIo::new(listener.accept().await.unwrap().0);
        let answer = |_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) };
        http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await
    };
    tokio::select! {
        dialled = dial.connect() => {
            let error = dialled.unwrap_err();
            assert!(matches!(error, DialError::Http2), "{error:?}");
            assert!(error.to_string().contains("http1_only"));
        }
        served = serve => panic!("{served:?}"),
    }
}

#[tokio::test]
async fn a_dial_can_be_repeated() {
    let listener = listen().await;
    let dial = Dial::new(format!("ws://{}", listener.local_addr().unwrap()));
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (dialled, request) =
            tokio::join!(dial.clone().connect(), redirect(&listener, |_| None));
        dialled.unwrap();
        keys.push(request.headers()[SEC_WEBSOCKET_KEY].clone());
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn invalid_settings_are_reported_before_anything_is_sent() {
    let check = async |dial: Dial, expected: fn(&DialError) -> bool| {
        let (ours, mut theirs) = duplex(1024);
        let errors =
            [dial.clone().connect().await.unwrap_err(), dial.connect_over(ours).await.unwrap_err()];
        assert!(errors.iter().all(expected), "{errors:?}");
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    };
    for url in ["", "/chat", "localhost:8080", "ftp://example.com", "ws://", "ws://a/#b"] {
        check(Dial::new(url), |error| matches!(error, DialError::Url(_))).await;
    }
    let dial = || Dial::new("ws://example.com");
    for name in ["connection", "Upgrade", "Sec-WebSocket-Key", "content-length"] {
        let reserved =
            |error: &DialError| matches!(error, DialError::Header(InvalidHeader::Reserved(_)));
        check(dial().header(name, "1"), reserved).await;
    }
    let name = |error: &DialError| matches!(error, DialError::Header(InvalidHeader::Name));
    check(dial().header("a b", "c").header("upgrade", "1"), name).await;
    let value = |error: &DialError| matches!(error, DialError::Header(InvalidHeader::Value(_)));
    check(dial().header("a", "b\r\nc: d"), value).await;
    check(dial().origin("\0"), value).await;
    for names in [["a b", "c"], ["a", "a"], ["", "a"]] {
        let subprotocol = |error: &DialError| matches!(error, DialError::Subprotocol(_));
        check(dial().subprotocols(names), subprotocol).await;
    }
}

#[test]
fn dialling_can_be_spawned() {
    fn check(_: impl Send + 'static) {}
    check(Dial::new("ws://example.com").connect());
    check(Dial::new("ws://example.com").connect_over(duplex(1).0));
    check(ws_client::dial("ws://example.com"));
}
