//! Is each row of `COMING_FROM_GO.md` correct?

use std::sync::Arc;
use std::time::Duration;

use axum::response::Redirect;
use axum::routing::any;
use axum::{Extension, Router};
use futures::future::BoxFuture;
use hyper::body::Bytes;
use hyper::http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use ws_client::{Dial, DialError, HandshakeError};
use ws_core::Acceptor;
use ws_core::codec::ProtobufCodec;
use ws_core::frame::Frame;
use ws_core::frame::OpCode;
use ws_core::handler::HandlerOutput;
use ws_core::handshake::Negotiated;
use ws_core::proto::CloseFrame;
use ws_core::{
    AcceptOptions, BufferPool, CloseError, Compression, Config, Conn, Error, Limits, Message,
    MessageType, Origin, PreparedMessage, Role, StatusCode,
};
use ws_server_axum::{TestError, TestRequest, websocket};

/// The test of a row.
type Shown = fn() -> BoxFuture<'static, ()>;

macro_rules! rows {
    ($($go:literal => async $body:block;)+) => {
        &[$(($go, || Box::pin(async $body))),+]
    };
}

/// The Go names of each row, and its test.
const ROWS: &[(&str, Shown)] = rows! {
    "New(handler, config)" => async {
            let conn = ask(AcceptOptions::new(), async |conn: Conn| drop(conn.write("hi").await)).await.unwrap();
            assert_eq!(read(&conn).await, "hi");
            assert_eq!(closed(&conn).await, StatusCode::NORMAL_CLOSURE);
        };
    "IsWebSocketUpgrade" => async {
            let request = http::Request::get("/").header("upgrade", "WebSocket");
            let request = request.header("connection", "keep-alive, Upgrade").body(()).unwrap();
            assert!(ws_server_hyper::is_upgrade(&request));
            assert!(!ws_server_hyper::is_upgrade(&http::Request::new(())));
        };
    "Config.Filter, Config.Next" => async {
            let options = AcceptOptions::new().filter(|request| request.uri().path() != "/");
            assert_eq!(refused(options, |request| request).await, 404);
        };
    "Config.HandshakeTimeout" => async {
            let (silent, io) = tokio::io::duplex(64);
            let options = AcceptOptions::new().handshake_timeout(Duration::from_millis(1));
            assert!(in_time(Acceptor::new(&options).accept(io)).await.is_err());
            drop(silent);
        };
    "Config.Subprotocols" => async {
            let options = AcceptOptions::new().subprotocols(["v2", "v1"]);
            let conn = ask_with(options, echo, |request| request.subprotocols(["v1", "v2"])).await;
            assert_eq!(conn.unwrap().subprotocol(), Some("v2"));
        };
    "Config.Origins" => async {
            let from = |request: TestRequest<'static>| request.header("origin", "https://evil.example");
            assert_eq!(refused(AcceptOptions::new(), from).await, 403);
            for origin in [Origin::any(), Origin::patterns(["*.example"])] {
                ask_with(AcceptOptions::new().origin(origin), echo, from).await.unwrap();
            }
        };
    "Config.AllowEmptyOrigin" => async {
            ask(AcceptOptions::new(), echo).await.unwrap();
            let options = AcceptOptions::new().origin(Origin::same_host().refuse_missing());
            assert_eq!(refused(options, |request| request).await, 403);
        };
    "Config.ReadBufferSize, WriteBufferSize" => async {
            let config = Config::new().read_buffer(1024).write_batch(512);
            echoes(config, &"x".repeat(10_000)).await;
        };
    "Config.WriteBufferPool" => async {
            let pool = BufferPool::new(1 << 20);
            let config = Config::new().buffer_pool(&pool);
            let (here, there) = ws_core::pair_with(config, Config::new());
            here.write_prepared(&PreparedMessage::new("x")).await.unwrap();
            assert_eq!(read(&there).await, "x");
            assert_eq!((pool.misses(), pool.cached() > 0), (1, true));
        };
    "Config.EnableCompression" => async {
            let compression = Compression::no_context_takeover();
            let options = AcceptOptions::new().compression(compression);
            let conn = ask_with(options, echo, |request| request.compression(compression)).await;
            assert!(conn.unwrap().is_compressed());
        };
    "Config.RecoverHandler" => async {
            let (seen, mut panics) = tokio::sync::mpsc::unbounded_channel();
            let options = AcceptOptions::new().on_panic(move |panicked| {
                let _ = seen.send(panicked.message().map(str::to_owned));
                async {}
            });
            let conn = ask(options, fails).await.unwrap();
            let error = in_time(conn.read()).await.unwrap_err();
            assert!(error.is_close(&[StatusCode::INTERNAL_ERROR]) && !format!("{error:?}").contains("secret"));
            assert_eq!(in_time(panics.recv()).await, Some(Some("secret".to_owned())));
        };
    "Conn.Locals" => async {
            let (conn, _peer) = ws_core::pair();
            conn.attributes().set("user", "ann".to_owned());
            conn.attributes().insert(7_u32);
            assert_eq!(conn.attributes().named::<String>("user").as_deref(), Some("ann"));
            assert_eq!(conn.attributes().get::<u32>(), Some(7));
            // An extension that middleware adds to the request.
            let local = async |conn: Conn| {
                let request = conn.request().unwrap();
                drop(conn.write(format!("{:?}", request.extension::<u32>())).await);
            };
            let app = Router::new().route("/", websocket(AcceptOptions::new(), local)).layer(Extension(7_u32));
            let conn = in_time(Dial::new(serve(app).await).connect()).await.unwrap();
            assert_eq!(read(&conn).await, "Some(7)");
        };
    "Conn.Params, Query, Cookies, Headers, IP" => async {
            let handler = async |conn: Conn| {
                let request = conn.request().unwrap();
                let query: Vec<_> = request.query_all("q").collect();
                let (room, cookie, header) = (request.param("room"), request.cookie("c"), request.header("X-Y"));
                let from = conn.peer_addr().map(|addr| addr.ip().to_string());
                drop(conn.write(format!("{room:?} {query:?} {cookie:?} {header:?} {from:?}")).await);
            };
            let app = Router::new().route("/{room}", websocket(AcceptOptions::new(), handler));
            let url = format!("{}7?q=1&q=2", serve(app).await);
            let dial = Dial::new(url).header("cookie", "a=b; c=d").header("x-y", "z").header("x-forwarded-for", "10.0.0.1");
            let said = read(&in_time(dial.connect()).await.unwrap()).await;
            assert_eq!(said, r#"Some("7") ["1", "2"] Some("d") Some("z") Some("127.0.0.1")"#);
        };
    "FormatCloseMessage" => async {
            assert_eq!(CloseFrame::new(StatusCode::GOING_AWAY, "x").unwrap().encode(), b"\x03\xe9x");
            assert_eq!(CloseFrame::new(StatusCode::NO_STATUS_RECEIVED, "").unwrap().encode(), b"");
            assert!(CloseFrame::new(StatusCode::ABNORMAL_CLOSURE, "").is_err());
            assert!(CloseFrame::new(StatusCode::GOING_AWAY, &"x".repeat(124)).is_err());
        };
    "IsCloseError, IsUnexpectedCloseError" => async {
            let error = closing(StatusCode::GOING_AWAY).await;
            assert!(error.is_close(&[StatusCode::GOING_AWAY]));
            assert!(error.is_unexpected_close(&[StatusCode::NORMAL_CLOSURE]));
            let wrapped = anyhow::Error::new(std::io::Error::from(error));
            assert_eq!(Error::close_status_in(wrapped.as_ref()), Some(StatusCode::GOING_AWAY));
            assert!(Error::close_status_in(&std::io::Error::other("x")).is_none());
        };
    "JoinMessages" => async {
            for (code, expected) in [(StatusCode::NORMAL_CLOSURE, Ok("a;b;")), (StatusCode::GOING_AWAY, Ok("a;b;")), (StatusCode::INTERNAL_ERROR, Err(()))] {
                let (here, there) = ws_core::pair();
                let joined = tokio::spawn(async move {
                    let mut text = String::new();
                    there.messages().joined(";").read_to_string(&mut text).await.map(|_| text)
                });
                here.write("a").await.unwrap();
                here.write("b").await.unwrap();
                in_time(here.close(code, "")).await.unwrap();
                let joined = in_time(joined).await.unwrap();
                assert_eq!(joined.as_deref().map_err(drop), expected, "{code}");
            }
        };
    "TextMessage, CloseNormalClosure, …" => async {
            assert_eq!(OpCode::TEXT.as_u8(), 1);
            assert_eq!(OpCode::PONG.as_u8(), 10);
            assert_eq!(StatusCode::BAD_GATEWAY.as_u16(), 1014);
            assert_eq!(StatusCode::from_u16(1004).and_then(StatusCode::phrase), None);
        };
    "ErrBadHandshake, ErrCloseSent, ErrReadLimit" => async {
            let error = refusing("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
            assert!(matches!(error, DialError::Refused(_)), "{error:?}");
            let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
            let error = refusing(wrong).await;
            assert!(matches!(error, DialError::Handshake(HandshakeError::AcceptWrong)), "{error:?}");
            let (here, _there) = ws_core::pair();
            let closing = here.clone();
            tokio::spawn(async move { closing.close(StatusCode::NORMAL_CLOSURE, "").await });
            tokio::task::yield_now().await;
            assert!(matches!(here.write("x").await, Err(Error::CloseSent)));
            assert!(matches!(too_big(10, "x".repeat(11)).await, Error::MessageTooBig { .. }));
        };
    "Accept" => async {
            let ask = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            for (head, expected) in [
                (format!("GET / HTTP/1.1\r\n{ask}"), "400"),
                (format!("GET / HTTP/1.1\r\n{ask}{key}Origin: https://evil.example\r\n"), "403"),
                (format!("POST / HTTP/1.1\r\n{ask}{key}"), "405"),
                ("GET / HTTP/1.1\r\nHost: x\r\n".to_owned(), "426"),
            ] {
                let (mut client, io) = tokio::io::duplex(4096);
                let asking = async {
                    client.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
                    let mut status = [0; 12];
                    client.read_exact(&mut status).await.unwrap();
                    String::from_utf8_lossy(&status).into_owned()
                };
                let options = AcceptOptions::new();
                let (accepted, status) = in_time(async { tokio::join!(Acceptor::new(&options).accept(io), asking) }).await;
                assert!(accepted.is_err());
                assert_eq!(status, format!("HTTP/1.1 {expected}"));
            }
            // This request has no transport that could be upgraded.
            let mut request = good_request();
            let rejected = ws_server_hyper::accept::<_, ()>(&mut request, &AcceptOptions::new());
            assert_eq!(rejected.err().unwrap().status(), 501);
        };
    "AcceptOptions.Subprotocols" => async {
            let options = AcceptOptions::new().subprotocols(["a"]);
            for name in ["b", "A"] {
                let other = |request: TestRequest<'static>| request.subprotocols([name]);
                assert_eq!(ask_with(options.clone(), echo, other).await.unwrap().subprotocol(), None);
                assert_eq!(refused(options.clone().require_subprotocol(), other).await, 400);
            }
        };
    "AcceptOptions.InsecureSkipVerify" => async {
            let options = AcceptOptions::new().origin(Origin::any());
            ask_with(options, echo, |request| request.header("origin", "null")).await.unwrap();
        };
    "AcceptOptions.OriginPatterns" => async {
            let options = || AcceptOptions::new().origin(Origin::patterns(["https://*.friend.example"]));
            let from = |origin: &'static str| move |request: TestRequest<'static>| request.header("origin", origin);
            ask_with(options(), echo, from("https://a.friend.example")).await.unwrap();
            ask_with(options(), echo, from("http://localhost")).await.unwrap();
            assert_eq!(refused(options(), from("http://a.friend.example")).await, 403);
        };
    "AcceptOptions.CompressionMode, CompressionThreshold" => async {
            let (by_itself, referring) = (Compression::no_context_takeover(), Compression::context_takeover());
            for (compression, threshold) in [(by_itself.threshold(100), 100), (by_itself, 512), (referring, 128)] {
                let config = || Config::new().compression(compression);
                let (here, there) = ws_core::pair_with(config(), config());
                for len in [threshold - 1, threshold] {
                    here.write("x".repeat(len)).await.unwrap();
                    in_time(there.read()).await.unwrap();
                }
                assert_eq!(here.stats().before_deflate, threshold as u64);
            }
            assert!(!Config::new().compression_setting().is_on());
        };
    "OnPingReceived, OnPongReceived" => async {
            let (here, there) = ws_core::pair();
            there.on_ping(|conn, payload| {
                let _ = conn.try_write(payload.clone());
                false
            });
            let (seen, mut pongs) = tokio::sync::mpsc::unbounded_channel();
            there.on_pong(move |_, payload| drop(seen.send(payload.clone())));
            reading(&there);
            here.frames().write(Frame::ping("hello")).await.unwrap();
            assert_eq!(in_time(here.read()).await.unwrap().as_bytes(), b"hello");
            assert_eq!(here.stats().frames_in, 1, "no pong");
            here.pong("life").unwrap();
            assert_eq!(in_time(pongs.recv()).await.unwrap(), "life");
        };
    "Dial" => async {
            let url = listen(StatusCode::NORMAL_CLOSURE).await;
            let redirecting = Router::new().route("/", any(move || async move { Redirect::to(&url.replace("ws://", "http://")) }));
            let conn = in_time(ws_client::dial(serve(redirecting).await)).await.unwrap();
            assert_eq!(closed(&conn).await, StatusCode::NORMAL_CLOSURE);
            let no = || async { (http::StatusCode::IM_A_TEAPOT, [("x-why", "so")], "y".repeat(5000)) };
            let error = in_time(ws_client::dial(serve(Router::new().route("/", any(no))).await)).await.unwrap_err();
            let refusal = error.refused_response().unwrap();
            assert_eq!((refusal.status.as_u16(), &refusal.headers["x-why"], refusal.body.len()), (418, &http::HeaderValue::from_static("so"), 1024));
        };
    "DialOptions.HTTPClient" => async {
            let client = reqwest::Client::builder().http1_only().user_agent("mine").build().unwrap();
            let app = Router::new().route("/", websocket(AcceptOptions::new(), say_header("user-agent")));
            let conn = in_time(Dial::new(serve(app).await).client(client).connect()).await.unwrap();
            assert_eq!(read(&conn).await, "mine");
        };
    "DialOptions.HTTPHeader, Host, Subprotocols" => async {
            let dial = Dial::new("ws://anywhere/").header("host", "other.example").header("x-key", "k").subprotocols(["a", "b"]);
            let options = AcceptOptions::new().subprotocols(["b"]);
            let (client, server) = over_memory(dial, &options).await;
            let request = server.request().unwrap();
            let headers = ["host", "x-key", "sec-websocket-protocol"].map(|name| request.header(name));
            assert_eq!(headers, [Some("other.example"), Some("k"), Some("a, b")]);
            assert_eq!(client.subprotocol(), Some("b"));
        };
    "CompressionMode" => async {
            for compression in [Compression::off(), Compression::context_takeover(), Compression::no_context_takeover()] {
                echoes(Config::new().compression(compression.threshold(0).window_bits(9)), "again and again and again").await;
            }
        };
    "MessageType" => async {
            assert_eq!((MessageType::Text.to_string(), MessageType::Binary.to_string()), ("text".into(), "binary".into()));
        };
    "StatusCode, CloseError, CloseStatus" => async {
            let error = closing(StatusCode::GOING_AWAY).await;
            assert!(matches!(&error, Error::Closed(CloseError { code: StatusCode::GOING_AWAY, .. })));
            assert_eq!(Error::close_status_in(&error), Some(StatusCode::GOING_AWAY));
            assert_eq!(Error::close_status_in(&std::io::Error::other("x")), None);
            assert_eq!(StatusCode::GOING_AWAY.to_string(), "1001 going away");
        };
    "ErrMessageTooBig" => async {
            let error = too_big(10, "x".repeat(11)).await;
            assert!(matches!(error, Error::MessageTooBig { limit: 10, .. }));
            assert!(error.to_string().contains("10 bytes"), "{error}");
        };
    "Conn.Reader" => async {
            let (here, there) = ws_core::pair();
            here.write("x".repeat(100_000)).await.unwrap();
            here.write("next").await.unwrap();
            let mut reader = in_time(there.reader()).await.unwrap();
            in_time(reader.chunk()).await.unwrap().unwrap();
            drop(reader);
            assert_eq!(read(&there).await, "next");
        };
    "Conn.Read, context" => async {
            let (here, there) = ws_core::pair();
            assert!(tokio::time::timeout(Duration::from_millis(1), there.read()).await.is_err());
            here.write("still there").await.unwrap();
            assert_eq!(read(&there).await, "still there");
        };
    "Conn.Writer" => async {
            let (here, there) = ws_core::pair();
            let mut writer = here.writer(MessageType::Text).await.unwrap();
            writer.write_all(b"in ").await.unwrap();
            writer.write_all(b"pieces").await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(read(&there).await, "in pieces");
            drop(here.writer(MessageType::Text).await.unwrap());
            assert_eq!(closed(&there).await, StatusCode::INTERNAL_ERROR);
        };
    "Conn.Write" => async {
            let config = || Config::new().compression(Compression::no_context_takeover());
            for (compressed, config) in [(false, Config::new()), (true, config())] {
                let (here, there) = ws_core::pair_with(config.clone(), config);
                here.write("x".repeat(100_000)).await.unwrap();
                let frame = in_time(there.frames().read()).await.unwrap();
                assert_eq!((frame.is_fin(), frame.header().rsv1), (true, compressed));
                assert_eq!(frame.payload().len() == 100_000, !compressed);
            }
        };
    "Conn.Ping" => async {
            let (here, there) = ws_core::pair();
            reading(&there);
            let rtt = in_time(here.ping()).await.unwrap();
            assert_eq!(here.stats().rtt, Some(rtt));
        };
    "Conn.Close" => async {
            let (here, there) = ws_core::pair();
            let bad = here.close(StatusCode::ABNORMAL_CLOSURE, "").await;
            assert!(matches!(bad, Err(Error::SendError(_))));
            reading(&there);
            for _ in 0..2 {
                in_time(here.close(StatusCode::NORMAL_CLOSURE, "bye")).await.unwrap();
            }
            assert_eq!(in_time(there.closed()).await.received.unwrap().reason, "bye");
        };
    "Conn.CloseNow" => async {
            let (here, there) = ws_core::pair();
            here.close_now();
            assert_eq!(closed(&there).await, StatusCode::ABNORMAL_CLOSURE);
        };
    "Conn.CloseRead" => async {
            let (here, there) = ws_core::pair();
            let end = here.close_read();
            there.write("unexpected").await.unwrap();
            assert_eq!(in_time(end).await.sent.unwrap().code, StatusCode::POLICY_VIOLATION);
        };
    "Conn.SetReadLimit" => async {
            let (here, there) = ws_core::pair();
            there.set_read_limit(None);
            here.write("x".repeat(2 << 20)).await.unwrap();
            assert_eq!(in_time(there.read()).await.unwrap().len(), 2 << 20);
            assert!(matches!(too_big(1 << 20, "x".repeat((1 << 20) + 1)).await, Error::MessageTooBig { .. }));
        };
    "Conn.Subprotocol" => async {
            let options = AcceptOptions::new().subprotocols(["a"]);
            let conn = ask_with(options, echo, |request| request.subprotocols(["a"])).await;
            assert_eq!(conn.unwrap().subprotocol(), Some("a"));
        };
    "NetConn" => async {
            let (here, there) = ws_core::pair();
            let mut bytes = here.into_byte_stream(MessageType::Binary);
            bytes.write_all(b"one").await.unwrap();
            bytes.shutdown().await.unwrap();
            assert_eq!(in_time(there.read()).await.unwrap(), Message::from(b"one"));
            assert_eq!(closed(&there).await, StatusCode::NORMAL_CLOSURE);
            assert_eq!(in_time(bytes.read(&mut [0; 8])).await.unwrap(), 0);
        };
    "wsjson.Read, wsjson.Write" => async {
            let (here, there) = ws_core::pair();
            here.write_json(&[1, 2]).await.unwrap();
            assert_eq!(in_time(there.read_json::<Vec<u8>>()).await.unwrap(), [1, 2]);
            here.write("no json").await.unwrap();
            in_time(there.read_json::<Vec<u8>>()).await.unwrap_err();
            assert_eq!(closed(&here).await, StatusCode::INVALID_FRAME_PAYLOAD_DATA);
        };
    "wspb.Read, wspb.Write" => async {
            let (here, there) = ws_core::pair();
            here.write_as::<ProtobufCodec, _>(&7_u32).await.unwrap();
            assert_eq!(in_time(there.read_as::<ProtobufCodec, u32>()).await.unwrap(), 7);
            here.write("text").await.unwrap();
            in_time(there.read_as::<ProtobufCodec, u32>()).await.unwrap_err();
            assert_eq!(closed(&here).await, StatusCode::UNSUPPORTED_DATA);
        };
    "x-webkit-deflate-frame" => async {
            let offer = |request: TestRequest<'static>| request.header("sec-websocket-extensions", "x-webkit-deflate-frame");
            let options = AcceptOptions::new().compression(Compression::context_takeover());
            assert!(!ask_with(options, echo, offer).await.unwrap().is_compressed());
        };
    "Upgrader" => async {
            let options = AcceptOptions::new()
                .subprotocols(["a"])
                .compression(Compression::no_context_takeover())
                .handshake_timeout(Duration::from_secs(5))
                .config(Config::new().read_buffer(1024).compression(Compression::no_context_takeover()));
            let with = |request: TestRequest<'static>| {
                request.subprotocols(["a"]).compression(Compression::no_context_takeover())
            };
            let conn = ask_with(options, echo, with).await.unwrap();
            assert_eq!((conn.subprotocol(), conn.is_compressed()), (Some("a"), true));
            conn.write("x").await.unwrap();
            assert_eq!(read(&conn).await, "x");
        };
    "Upgrader.CheckOrigin" => async {
            let origin = Origin::check(|origin, _| origin == "app://mine");
            let options = AcceptOptions::new().origin(origin);
            ask_with(options.clone(), echo, |request| request.header("origin", "app://mine")).await.unwrap();
            assert_eq!(refused(options, |request| request.header("origin", "app://other")).await, 403);
        };
    "Upgrader.Error, HandshakeError" => async {
            let request = http::Request::get("/").body(()).unwrap();
            let opening = ws_server_hyper::handshake_request(&request);
            let rejection = Acceptor::new(&AcceptOptions::new()).answer(opening).unwrap_err();
            assert_eq!(rejection.into_response().status(), 426);
        };
    "Upgrade(w, r, responseHeader)" => async {
            let name = http::HeaderName::from_static("x-server");
            let options = AcceptOptions::new().response_header(name, http::HeaderValue::from_static("ours"));
            let accepted = Acceptor::new(&options).answer(ws_server_hyper::handshake_request(&good_request())).unwrap();
            assert_eq!(accepted.response.headers()["x-server"], "ours");
        };
    "Subprotocols(r)" => async {
            let options = AcceptOptions::new().subprotocol_selector(|offered| offered.last().map(|&name| name.to_owned()));
            let conn = ask_with(options, echo, |request| request.subprotocols(["a", "b"])).await;
            assert_eq!(conn.unwrap().subprotocol(), Some("b"));
        };
    "Dialer" => async {
            let config = Config::new().read_buffer(1024).compression(Compression::no_context_takeover());
            let dial = Dial::new("ws://anywhere/").subprotocols(["a"]).config(config);
            let options = AcceptOptions::new().subprotocols(["a"]).compression(Compression::no_context_takeover());
            let (client, _server) = over_memory(dial, &options).await;
            assert_eq!((client.subprotocol(), client.is_compressed()), (Some("a"), true));
        };
    "Dialer.HandshakeTimeout, DefaultDialer" => async {
            let (here, silent) = tokio::io::duplex(4096);
            let timeout = Duration::from_millis(1);
            let dial = Dial::new("ws://anywhere/").connect_timeout(timeout).connect_over(here);
            assert!(matches!(in_time(dial).await, Err(DialError::Timeout(after)) if after.limit == timeout));
            drop(silent);
        };
    "Dialer.Proxy, TLSClientConfig" => async {
            let (url, config) = serve_tls().await;
            let proxy = serve_proxy().await;
            let dialer = ws_client::Dialer::new().tls(config).proxy(&proxy);
            let conn = in_time(Dial::new(&url).dialer(&dialer).connect()).await.unwrap();
            assert_eq!(conn.peer_addr().unwrap().to_string(), proxy.replace("http://", ""));
            conn.write("x").await.unwrap();
            assert_eq!(read(&conn).await, "x");
        };
    "Dialer.Jar" => async {
            let login = async || ([("set-cookie", "who=ann; Path=/")], Redirect::to("/chat"));
            let app = Router::new().route("/", any(login)).route("/chat", websocket(AcceptOptions::new(), say_header("cookie")));
            let client = reqwest::Client::builder().http1_only().cookie_store(true).build().unwrap();
            let url = serve(app).await;
            for url in [url.clone(), format!("{url}chat")] {
                let conn = in_time(Dial::new(url).client(client.clone()).connect()).await.unwrap();
                assert_eq!(read(&conn).await, "who=ann");
            }
        };
    "Dialer.NetDial, NetDialContext, NetDialTLSContext" => async {
            for url in ["ws://anywhere/", "wss://anywhere/"] {
                let (client, server) = over_memory(Dial::new(url), &AcceptOptions::new()).await;
                client.write("x").await.unwrap();
                assert_eq!(read(&server).await, "x");
            }
        };
    "ErrBadHandshake" => async {
            let error = refusing("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
            let refusal = error.refused_response().unwrap();
            assert_eq!((refusal.status.as_u16(), &*refusal.body_text()), (401, "no"));
        };
    "NextReader, ReadMessage, ReadJSON" => async {
            let (here, there) = ws_core::pair();
            here.write("[1] x").await.unwrap();
            assert!(in_time(there.read()).await.unwrap().json::<Vec<u8>>().is_err());
            here.close_now();
            for _ in 0..1100 {
                let error = in_time(there.read()).await.unwrap_err();
                assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
            }
        };
    "SetReadDeadline" => async {
            let config = Config::new().idle_timeout(Duration::from_millis(5));
            let (here, there) = ws_core::pair_with(Config::new(), config);
            let error = in_time(there.read()).await.unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{error:?}");
            assert_eq!(closed(&here).await, StatusCode::GOING_AWAY);
        };
    "SetReadLimit" => async {
            let config = || Config::new().compression(Compression::no_context_takeover());
            let (here, there) = ws_core::pair_with(config(), config());
            there.set_read_limit(Some(1000));
            here.write("x".repeat(1001)).await.unwrap();
            assert!(matches!(in_time(there.read()).await, Err(Error::MessageTooBig { .. })));
            assert_eq!(closed(&here).await, StatusCode::MESSAGE_TOO_BIG);
        };
    "NextWriter, WriteMessage, WriteJSON" => async {
            let (here, there) = ws_core::pair();
            for n in 0..20 {
                let here = here.clone();
                tokio::spawn(async move { here.write(format!("{n}").repeat(1000)).await });
            }
            for _ in 0..20 {
                let text = read(&there).await;
                assert!(text.len() % 1000 == 0 && text == text[..text.len() / 1000].repeat(1000));
            }
            here.write_json(&[1]).await.unwrap();
            assert_eq!(read(&there).await, "[1]");
        };
    "NewPreparedMessage, WritePreparedMessage" => async {
            let (here, there) = ws_core::pair();
            let news = PreparedMessage::new("news");
            here.write_prepared(&news).await.unwrap();
            assert_eq!(read(&there).await, "news");
        };
    "WriteControl" => async {
            let (here, there) = ws_core::pair();
            here.pong("life").unwrap();
            here.frames().write(Frame::ping("p")).await.unwrap();
            assert_eq!(in_time(there.frames().read()).await.unwrap().payload(), "life");
            assert_eq!(in_time(there.frames().read()).await.unwrap().opcode(), OpCode::PING);
            assert!(here.pong(vec![0; 126]).is_err());
        };
    "SetWriteDeadline" => async {
            let (_silent, io) = tokio::io::duplex(16);
            let config = Config::new().write_timeout(Duration::from_millis(5)).write_buffer(0, 0);
            let conn = Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), config);
            conn.write("x".repeat(1000)).await.unwrap();
            assert!(matches!(in_time(conn.write("more")).await, Err(Error::Timeout(_))));
        };
    "SetPingHandler, SetPongHandler, SetCloseHandler" => async {
            let (here, there) = ws_core::pair();
            let (seen, mut events) = tokio::sync::mpsc::unbounded_channel();
            let (pings, pongs) = (seen.clone(), seen.clone());
            there.on_ping(move |_, payload| {
                let _ = pings.send(format!("ping {payload:?}"));
                payload != "veto"
            });
            there.on_pong(move |_, payload| drop(pongs.send(format!("pong {payload:?}"))));
            there.on_close(move |_, close| seen.send(close.to_string()).is_ok());
            reading(&there);
            for ping in ["veto", "answer"] {
                here.frames().write(Frame::ping(ping)).await.unwrap();
            }
            assert_eq!(in_time(here.frames().read()).await.unwrap(), Frame::pong("answer").unmasked());
            here.pong("x").unwrap();
            in_time(here.close(StatusCode::GOING_AWAY, "")).await.unwrap();
            for event in [r#"ping b"veto""#, r#"ping b"answer""#, r#"pong b"x""#, "closed with 1001 going away"] {
                assert_eq!(events.recv().await.unwrap(), event);
            }
        };
    "EnableWriteCompression, SetCompressionLevel" => async {
            let config = || Config::new().compression(Compression::context_takeover().threshold(0));
            let (here, there) = ws_core::pair_with(config(), config());
            let text = "again and again and again";
            here.write(Message::from(text).uncompressed()).await.unwrap();
            assert_eq!(here.stats().before_deflate, 0);
            here.write(Message::from(text).compression_level(9)).await.unwrap();
            assert_eq!(here.stats().before_deflate, text.len() as u64);
            assert_eq!((read(&there).await, read(&there).await), (text.to_owned(), text.to_owned()));
        };
    "Conn.Close" => async {
            let (here, there) = ws_core::pair();
            here.close_now();
            assert!(!in_time(there.closed()).await.is_clean());
        };
    "LocalAddr, RemoteAddr" => async {
            assert_eq!(ws_core::pair().0.peer_addr(), None);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let conn = Conn::from_stream(stream, Role::Client, Negotiated::default(), Bytes::new(), Config::new());
            assert_eq!(conn.peer_addr(), Some(address));
            assert!(conn.local_addr().is_some());
        };
    "io.ErrUnexpectedEOF as 1006" => async {
            let (io, peer) = tokio::io::duplex(64);
            let conn = Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), Config::new());
            drop(peer);
            assert_eq!(closed(&conn).await, StatusCode::ABNORMAL_CLOSURE);
        };
    "FastHTTPIsWebSocketUpgrade" => async {
            assert!(ws_server_hyper::is_upgrade(&good_request()));
        };
    "Server.UpgradeHandler, UpgradeNetHandler" => async {
            let options = AcceptOptions::new().filter(|request| request.headers().contains_key("x-token"));
            assert_ne!(refused(options.clone(), |request| request).await, 101);
            ask_with(options, echo, |request| request.header("x-token", "1")).await.unwrap();
        };
    "Server.Protocols, Server.Origin" => async {
            let options = AcceptOptions::new().subprotocols(["a"]).origin(Origin::patterns(["x.example"]));
            let conn = ask_with(options, echo, |request| request.subprotocols(["b"])).await.unwrap();
            assert_eq!(conn.subprotocol(), None);
        };
    "HandleOpen, HandleData, HandleClose, HandlePing, HandlePong, HandleError" => async {
            let (here, there) = ws_core::pair();
            here.frames().write(Frame::binary("a").fin(false)).await.unwrap();
            here.frames().write(Frame::new(OpCode::CONTINUATION, "b")).await.unwrap();
            here.write("").await.unwrap();
            assert_eq!(in_time(there.read()).await.unwrap(), Message::from(b"ab"));
            assert_eq!(in_time(there.read()).await.unwrap(), Message::from(""));
        };
    "HandleFrame" => async {
            let (here, there) = ws_core::pair();
            let (seen, mut frames) = tokio::sync::mpsc::unbounded_channel();
            there.frames().tap(move |frame| drop(seen.send((frame.header.mask.is_some(), frame.payload.to_vec()))));
            here.write("tapped").await.unwrap();
            assert_eq!(read(&there).await, "tapped");
            assert_eq!(frames.recv().await, Some((true, b"tapped".to_vec())));
        };
    "OpenHandler, PingHandler, PongHandler, MessageHandler, FrameHandler, CloseHandler, ErrorHandler, UpgradeHandler, UpgradeNetHandler, RequestHandler" => async {
            // A handler is any `Fn`, also a value of the application's own type that holds one.
            type PingHandler = Box<dyn Fn(&Conn, &Bytes) -> bool + Send + Sync>;
            let never: PingHandler = Box::new(|_, _| false);
            let (here, there) = ws_core::pair();
            there.on_ping(never);
            reading(&there);
            here.frames().write(Frame::ping("x")).await.unwrap();
            here.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            assert_eq!(here.stats().frames_in, 1, "the close frame alone");
        };
    "Upgrade, NetUpgrade" => async {
            let mut request = good_request();
            request.headers_mut().insert("sec-websocket-version", http::HeaderValue::from_static("1"));
            assert!(Acceptor::new(&AcceptOptions::new()).answer(ws_server_hyper::handshake_request(&request)).is_err());
            request.headers_mut().remove("sec-websocket-key");
            assert!(Acceptor::new(&AcceptOptions::new()).answer(ws_server_hyper::handshake_request(&request)).is_err());
        };
    "Conn.ID" => async {
            let (here, there) = ws_core::pair();
            assert_ne!(here.id(), there.id());
            let again = here.clone();
            assert_eq!(here.id(), again.id());
        };
    "Conn.UserValue, SetUserValue" => async {
            let (here, _there) = ws_core::pair();
            here.attributes().set("room", 7_u8);
            let again = here.clone();
            here.attributes().set("place", 1_u8);
            assert_eq!(again.attributes().named::<u8>("room"), Some(7));
        };
    "Conn.Write, WriteFrame, Ping" => async {
            let (here, there) = ws_core::pair();
            here.frames().write(Frame::text("x")).await.unwrap();
            assert_eq!(read(&there).await, "x");
            here.close_now();
            assert!(here.write("x").await.is_err() && here.ping().await.is_err());
            assert!(here.frames().write(Frame::text("x")).await.is_err());
        };
    "Conn.Close, CloseDetail" => async {
            let (here, there) = ws_core::pair();
            reading(&there);
            in_time(here.close(StatusCode::from_u16(4000).unwrap(), "why")).await.unwrap();
            assert_eq!(in_time(there.closed()).await.received.unwrap().reason, "why");
        };
    "Conn.ReadTimeout, WriteTimeout, MaxPayloadSize" => async {
            let limits = Limits::new().frame_size(10);
            let (here, there) = ws_core::pair_with(Config::new(), Config::new().limits(limits));
            here.frames().write(Frame::text("0123456789").fin(false)).await.unwrap();
            here.frames().write(Frame::new(OpCode::CONTINUATION, "0123456789x")).await.unwrap();
            assert!(matches!(in_time(there.read()).await, Err(Error::MessageTooBig { limit: 10, .. })));
        };
    "Frame, SetFin, SetRSV1, SetCode, SetMask, …" => async {
            let (here, there) = ws_core::pair();
            let odd = Frame::new(OpCode::from_u8(5), "x").fin(false).rsv1(true).masked_with([1, 2, 3, 4]);
            assert!(matches!(here.frames().write(odd.clone()).await, Err(Error::SendError(_))));
            here.frames().write_unchecked(odd).await.unwrap();
            in_time(there.read()).await.unwrap_err();
            assert_eq!(closed(&here).await, StatusCode::PROTOCOL_ERROR);
        };
    "Frame.IsFin, HasRSV1, HasRSV2, HasRSV3, Code, IsPing, IsControl, IsMasked, Len, MaskKey, Payload, Status, WriteTo, ReadFrom" => async {
            let frame = Frame::close(StatusCode::GOING_AWAY, "bye").rsv2(true).masked_with([1, 2, 3, 4]);
            let wire = frame.encode();
            let (read, taken) = Frame::decode(&wire).unwrap();
            assert_eq!((&read, taken), (&frame, wire.len()));
            assert!(read.is_fin() && read.is_control() && read.opcode() == OpCode::CLOSE);
            let header = read.header();
            assert_eq!((header.rsv1, header.rsv2, header.rsv3, header.len), (false, true, false, 5));
            assert_eq!(header.mask.map(|mask| mask.key()), Some([1, 2, 3, 4]));
            assert_eq!((read.close_code(), &read.payload()[2..]), (Some(StatusCode::GOING_AWAY), &b"bye"[..]));
        };
    "Code, StatusCode" => async {
            assert_eq!((OpCode::CONTINUATION.as_u8(), OpCode::CLOSE.as_u8()), (0, 8));
        };
    "Dial, DialTLS, DialWithHeaders" => async {
            let (url, config) = serve_tls().await;
            let dialer = ws_client::Dialer::new().no_proxy().tls(config);
            let conn = in_time(Dial::new(&url).dialer(&dialer).connect()).await.unwrap();
            conn.write("x").await.unwrap();
            assert_eq!(read(&conn).await, "x");
            let (_client, server) = over_memory(Dial::new("ws://anywhere/").header("x-token", "1"), &AcceptOptions::new()).await;
            let request = server.request().unwrap();
            assert_eq!((request.header("x-token"), request.header("origin")), (Some("1"), None));
            let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
            assert!(matches!(refusing(wrong).await, DialError::Handshake(_)));
        };
    "MakeClient, ClientWithHeaders, UpgradeAsClient" => async {
            let (here, there) = tokio::io::duplex(4096);
            let options = AcceptOptions::new();
            let accepting = async {
                let conn = Acceptor::new(&options).accept(there).await.unwrap();
                conn.write("at once").await.unwrap();
                conn
            };
            let dial = Dial::new("ws://anywhere/").connect_over(here);
            let (dialled, _conn) = in_time(async { tokio::join!(dial, accepting) }).await;
            assert_eq!(read(&dialled.unwrap()).await, "at once");
        };
    "Client.Write, WriteBinary, WriteFrame, ReadFrame, Close" => async {
            let (client, server) = ws_core::pair();
            client.write(b"x").await.unwrap();
            assert_eq!(in_time(server.frames().read()).await.unwrap().payload(), "x");
        };
    "Error, ErrCannotUpgrade, DefaultPayloadSize" => async {
            assert!(matches!(too_big(1 << 20, "x".repeat((1 << 20) + 1)).await, Error::MessageTooBig { .. }));
        };
    "fastws: Upgrader, NetUpgrader, ReadFrame, NextFrame, ReadMessage, WriteMessage, SendCode, ReadFull, ReplyClose, CloseString, Mode" => async {
            let handler = async |conn: Conn| {
                let frame = conn.frames().read().await?;
                let message = conn.read().await?;
                let said = format!("{} {}", String::from_utf8_lossy(frame.payload()), message.kind());
                conn.write(said).await?;
                conn.close(StatusCode::from_u16(4001).unwrap(), "enough").await
            };
            let conn = ask(AcceptOptions::new(), handler).await.unwrap();
            conn.write("a frame").await.unwrap();
            conn.write(b"binary").await.unwrap();
            assert_eq!(read(&conn).await, "a frame binary");
            assert_eq!(closed(&conn).await.as_u16(), 4001);
        };
};

const PAGE: &str = include_str!("../../ws-core/COMING_FROM_GO.md");

#[test]
fn every_row_of_the_page_is_shown_or_was_declined() {
    let mut shown = ROWS.iter().map(|(go, _)| *go);
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    for row in rows {
        let (go, rest) = row.split_once("` | ").unwrap();
        let declined = rest.starts_with('–');
        let is_told = ["Declined: ", "Not there yet: "].iter().any(|word| rest.contains(word));
        assert!(!declined || is_told, "{go} is declined without a reason");
        if !declined {
            assert_eq!(shown.next(), Some(go));
        }
    }
    assert_eq!(shown.next(), None);
}

/// The identifiers of the four Go libraries, except methods whose row has an ellipsis.
const IDENTIFIERS: &str = "
    New IsWebSocketUpgrade Filter Next HandshakeTimeout Subprotocols Origins AllowEmptyOrigin
    ReadBufferSize WriteBufferSize WriteBufferPool EnableCompression RecoverHandler Locals Params
    Query Cookies Headers IP FormatCloseMessage IsCloseError IsUnexpectedCloseError JoinMessages
    TextMessage CloseNormalClosure ErrBadHandshake ErrCloseSent ErrReadLimit

    Accept InsecureSkipVerify OriginPatterns CompressionMode CompressionThreshold OnPingReceived
    OnPongReceived Dial HTTPClient HTTPHeader Host MessageType StatusCode CloseError CloseStatus
    ErrMessageTooBig Reader Read Writer Write Ping Close CloseNow CloseRead SetReadLimit
    Subprotocol NetConn wsjson wspb

    Upgrader CheckOrigin Error HandshakeError Upgrade Dialer DefaultDialer NetDial NetDialContext
    NetDialTLSContext Proxy TLSClientConfig Jar NewClient httptrace NextReader ReadMessage
    ReadJSON SetReadDeadline NextWriter WriteMessage WriteJSON NewPreparedMessage
    WritePreparedMessage WriteControl SetWriteDeadline SetPingHandler SetPongHandler
    SetCloseHandler PingHandler PongHandler CloseHandler EnableWriteCompression
    SetCompressionLevel LocalAddr RemoteAddr UnderlyingConn FastHTTPUpgrader FastHTTPHandler
    FastHTTPIsWebSocketUpgrade HijackResponse ErrNilConn ErrNilNetConn
    ErrResponseHijackUnsupported

    UpgradeHandler UpgradeNetHandler Protocols Origin HandleOpen HandleData HandleClose HandlePing
    HandlePong HandleError HandleFrame NetUpgrade OpenHandler MessageHandler FrameHandler
    ErrorHandler RequestHandler ID UserValue SetUserValue WriteFrame CloseDetail ReadTimeout
    WriteTimeout MaxPayloadSize AcquireFrame ReleaseFrame IsFin HasRSV1 HasRSV2 HasRSV3 Code
    IsPing IsControl IsMasked Len MaskKey Payload Status WriteTo ReadFrom SetFin SetRSV1 SetCode
    SetMask DialTLS DialWithHeaders MakeClient ClientWithHeaders UpgradeAsClient WriteBinary
    ReadFrame ErrCannotUpgrade DefaultPayloadSize fastws NetUpgrader NextFrame SendCode ReadFull
    ReplyClose CloseString Mode
";

#[test]
fn all_go_identifiers_are_on_the_page() {
    let rows: String = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    let words: Vec<_> = rows.split(|it: char| !it.is_alphanumeric()).collect();
    for name in IDENTIFIERS.split_whitespace() {
        assert!(words.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn every_row_is_correct() {
    for (go, show) in ROWS {
        let shown = tokio::spawn(in_time(show()));
        if let Err(error) = shown.await {
            panic!("{go}: {error}");
        }
    }
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.expect("timeout")
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

async fn fails(_: Conn) {
    panic!("secret");
}

/// The connection of a client to a handler in axum.
async fn ask_at<H, Fut>(
    path: &'static str,
    options: AcceptOptions,
    handler: H,
    with: impl FnOnce(TestRequest<'static>) -> TestRequest<'static>,
) -> Result<Conn, TestError>
where
    H: Fn(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let app = Router::new().route("/", websocket(options, handler));
    // Keeps the server running until the end of the test.
    let client = Box::leak(Box::new(ws_server_axum::test_client(app)));
    in_time(with(client.websocket(path)).connect()).await
}

async fn ask_with<H, Fut>(
    options: AcceptOptions,
    handler: H,
    with: impl FnOnce(TestRequest<'static>) -> TestRequest<'static>,
) -> Result<Conn, TestError>
where
    H: Fn(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    ask_at("/", options, handler, with).await
}

async fn ask<H, Fut>(options: AcceptOptions, handler: H) -> Result<Conn, TestError>
where
    H: Fn(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    ask_at("/", options, handler, |request| request).await
}

/// The status of the rejection of a request.
async fn refused(
    options: AcceptOptions,
    with: impl FnOnce(TestRequest<'static>) -> TestRequest<'static>,
) -> u16 {
    match ask_with(options, echo, with).await {
        Err(TestError::Refused(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// Serves an application over TCP, and returns its URL.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(ws_server_axum::serve(listener, app));
    url
}

/// Sends the value of a request header.
fn say_header(name: &'static str) -> impl Fn(Conn) -> BoxFuture<'static, ()> + Clone + Send + Sync {
    move |conn| {
        Box::pin(async move {
            let value = conn.request().unwrap().header(name).unwrap_or("nothing").to_owned();
            drop(conn.write(value).await);
        })
    }
}

/// An echo server over TLS, its URL, and the client configuration that trusts it.
async fn serve_tls() -> (String, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    // With every feature, rustls has two kinds of cryptography, and cannot choose.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let io = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        Acceptor::new(&AcceptOptions::new()).serve(io, echo).await
    });
    (url, ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// An HTTP proxy that connects to any target, and its URL.
async fn serve_proxy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut here, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(here.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
        let mut there = TcpStream::connect(target).await.unwrap();
        here.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::io::copy_bidirectional(&mut here, &mut there).await
    });
    url
}

/// Client and server of an in-memory connection.
async fn over_memory(dial: Dial, options: &AcceptOptions) -> (Conn, Conn) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let both =
        async { tokio::join!(dial.connect_over(here), Acceptor::new(options).accept(there)) };
    let (dialled, accepted) = in_time(both).await;
    (dialled.unwrap(), accepted.unwrap())
}

/// The error of a dial to a server with this response.
async fn refusing(answer: &str) -> DialError {
    let (here, mut there) = tokio::io::duplex(4096);
    let answering = async {
        assert!(there.read(&mut vec![0; 4096]).await.unwrap() > 0);
        there.write_all(answer.as_bytes()).await.unwrap();
    };
    let dial = Dial::new("ws://anywhere/").connect_over(here);
    let (dialled, ()) = in_time(async { tokio::join!(dial, answering) }).await;
    dialled.unwrap_err()
}

/// A TCP server that closes every connection with this code, and its URL.
async fn listen(code: StatusCode) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let conn = Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
        conn.close(code, "").await
    });
    url
}

fn good_request() -> http::Request<()> {
    let request = http::Request::get("/")
        .header("host", "example.com")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.body(()).unwrap()
}

async fn read(conn: &Conn) -> String {
    in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()
}

/// The close code of a connection.
async fn closed(conn: &Conn) -> StatusCode {
    in_time(conn.read()).await.unwrap_err().close_status().unwrap()
}

/// The read error after the peer closed with this code.
async fn closing(code: StatusCode) -> Error {
    let (here, there) = ws_core::pair();
    tokio::spawn(async move { here.close(code, "").await });
    in_time(there.read()).await.unwrap_err()
}

/// The read error of a message above the size limit.
async fn too_big(limit: usize, text: String) -> Error {
    let config = Config::new().limits(Limits::new().message_size(limit));
    let (here, there) = ws_core::pair_with(Config::new(), config);
    here.write(text).await.unwrap();
    in_time(there.read()).await.unwrap_err()
}

/// Reads in the background.
fn reading(conn: &Conn) {
    let conn = conn.clone();
    tokio::spawn(async move { while conn.read().await.is_ok() {} });
}

/// Sends and receives a text, with this configuration on both sides.
async fn echoes(config: Config, text: &str) {
    let (here, there) = ws_core::pair_with(config.clone(), config);
    here.write(text).await.unwrap();
    assert_eq!(read(&there).await, text);
}
