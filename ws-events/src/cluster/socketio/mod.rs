//! How is a hub one of the servers of Socket.IO that `@socket.io/redis-adapter` joins?
//!
//! The protocol is that of version 8 of the adapter, with its default parser. A namespace has these
//! channels:
//!
//! | channel | what |
//! | --- | --- |
//! | `key#/nsp#`, and `key#/nsp#room#` for one room | broadcasts in MessagePack: `[uid, packet, options]` |
//! | `key-request#/nsp#` | requests to all servers, in JSON or MessagePack |
//! | `key-response#/nsp#`, and `key-response#/nsp#uid#` for one server | their answers |
//!
//! A server gets its own messages, too. It knows them by its `uid`. How many servers answer a request
//! is what Redis says when it publishes the request.

pub(crate) mod engine;
mod port;
mod wire;
mod write;
