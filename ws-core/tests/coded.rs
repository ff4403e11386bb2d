//! Are values encoded and decoded, and does an invalid message close the connection?

use std::collections::HashMap;
use std::num::ParseIntError;

use crate::support::{binary, connect, run, soon, text};
use serde::{Deserialize, Serialize};
use ws_core::codec::ProtobufCodec;
use ws_core::codec::{Codec, CodecError, Decode, Encode};
use ws_core::{Config, Conn, Error, Message, MessageType, Role, StatusCode};

use crate::support;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Vector {
    #[prost(sint32, tag = "1")]
    x: i32,
    #[prost(string, tag = "2")]
    name: String,
}

const POINT: Point = Point { x: 3, y: -4 };

fn vector() -> Vector {
    Vector { x: -7, name: "käse".to_owned() }
}

#[test]
fn json_goes_as_text_and_comes_from_both_types() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        soon(conn.write_json(&POINT)).await.unwrap();
        assert_eq!(peer.frame().await, Some(text(r#"{"x":3,"y":-4}"#)));
        soon(conn.write_json("unsized")).await.unwrap();
        assert_eq!(peer.frame().await, Some(text(r#""unsized""#)));
        peer.send(&[text(r#"{"x": 3, "y": -4}"#), binary(r#" {"y":-4,"x":3} "#)]).await;
        for _ in 0..2 {
            assert_eq!(soon(conn.read_json::<Point>()).await.unwrap(), POINT);
        }
    });
}

#[test]
fn protocol_buffers_go_and_come_as_binary() {
    run(async {
        let (here, there) = ws_core::pair();
        soon(here.write_as::<ProtobufCodec, _>(&vector())).await.unwrap();
        let message = soon(there.read()).await.unwrap();
        assert_eq!((message.kind(), message.proto()), (MessageType::Binary, Ok(vector())));
        soon(there.write(Message::from_proto(&vector()))).await.unwrap();
        assert_eq!(soon(here.read_as::<ProtobufCodec, Vector>()).await.unwrap(), vector());
    });
}

/// The effect of an invalid message on the connection.
async fn refused<T>(
    frame: support::Frame,
    code: StatusCode,
    read: impl AsyncFn(&Conn) -> Result<T, Error>,
) -> CodecError {
    let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
    peer.send(&[frame]).await;
    let error = soon(read(&conn)).await.err().unwrap();
    assert_eq!((error.close_status(), error.is_close(&[code])), (Some(code), true), "{error:?}");
    let close = peer.frame().await.unwrap();
    assert_eq!(close.payload[..2], code.as_u16().to_be_bytes(), "{close:?}");
    // The error is permanent.
    assert_eq!(soon(conn.read()).await.unwrap_err().close_status(), Some(code));
    match error {
        Error::Codec(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_is_no_json_closes_with_1007() {
    let bad = ["", "{", r#"{"x":1}"#, r#"{"x":1,"y":2} x"#, "[1,2", "\"text\""];
    for payload in bad {
        for frame in [text(payload), binary(payload)] {
            run(async {
                let code = StatusCode::INVALID_FRAME_PAYLOAD_DATA;
                let error = refused(frame, code, async |conn| conn.read_json::<Point>().await);
                assert!(matches!(error.await, CodecError::Decode(_)), "{payload}");
            });
        }
    }
}

#[test]
fn a_message_that_is_no_protocol_buffer_closes_with_1007_and_text_with_1003() {
    run(async {
        let code = StatusCode::INVALID_FRAME_PAYLOAD_DATA;
        let read = async |conn: &Conn| conn.read_as::<ProtobufCodec, Vector>().await;
        let error = refused(binary([0xff]), code, read).await;
        assert!(matches!(error, CodecError::Decode(_)));
        let error = refused(text("x"), StatusCode::UNSUPPORTED_DATA, read).await;
        assert!(matches!(error, CodecError::Type(MessageType::Text)));
    });
}

#[test]
fn what_is_not_read_as_json_may_be_looked_at() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        peer.send(&[text("no json"), text("[1]")]).await;
        let message = soon(conn.read()).await.unwrap();
        assert!(message.json::<Point>().is_err());
        let error = message.decode::<Hex, u32>().unwrap_err();
        assert!(matches!(error, CodecError::Decode(_)), "{error:?}");
        let error = Message::from(b"ff").decode::<Hex, u32>().unwrap_err();
        assert!(matches!(error, CodecError::Type(MessageType::Binary)), "{error:?}");
        assert_eq!(Message::encode::<Hex, _>(&255).unwrap(), Message::from("ff"));
        assert!(Message::encode::<Hex, _>(&0).is_err());
        assert_eq!(soon(conn.read_json::<[u8; 1]>()).await.unwrap(), [1]);
    });
}

#[test]
fn a_value_that_cannot_be_said_sends_nothing_and_closes_nothing() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let unsayable = HashMap::from([((1, 2), 3)]);
        let error = soon(conn.write_json(&unsayable)).await.unwrap_err();
        assert!(matches!(&error, Error::Codec(CodecError::Encode(_))), "{error:?}");
        assert_eq!(error.close_status(), None);
        assert!(Message::from_json(&unsayable).is_err());
        soon(conn.write("still here")).await.unwrap();
        assert_eq!(peer.frame().await, Some(text("still here")));
    });
}

/// A custom format that may produce invalid text.
struct Hex;

impl Codec for Hex {
    type Error = ParseIntError;
    const WRITES: MessageType = MessageType::Text;

    fn reads(kind: MessageType) -> bool {
        kind == MessageType::Text
    }
}

impl Encode<u32> for Hex {
    fn encode(value: &u32) -> Result<Vec<u8>, ParseIntError> {
        Ok(if *value == 0 { b"\xff".to_vec() } else { format!("{value:x}").into() })
    }
}

impl Decode<u32> for Hex {
    fn decode(payload: &[u8]) -> Result<u32, ParseIntError> {
        u32::from_str_radix(&String::from_utf8_lossy(payload), 16)
    }
}

#[test]
fn another_format_can_be_added() {
    run(async {
        let (here, there) = ws_core::pair();
        soon(here.write_as::<Hex, _>(&48879)).await.unwrap();
        assert_eq!(soon(there.read_as::<Hex, u32>()).await.unwrap(), 48879);
        // Invalid text is not sent.
        let error = soon(here.write_as::<Hex, _>(&0)).await.unwrap_err();
        assert!(matches!(error, Error::Codec(CodecError::Encode(_))));
        let code = StatusCode::UNSUPPORTED_DATA;
        refused(binary("ff"), code, async |conn| conn.read_as::<Hex, u32>().await).await;
        let code = StatusCode::INVALID_FRAME_PAYLOAD_DATA;
        refused(text("xyz"), code, async |conn| conn.read_as::<Hex, u32>().await).await;
    });
}
