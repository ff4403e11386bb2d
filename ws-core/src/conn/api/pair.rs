//! How are two connected connections made in memory, for tests?

use bytes::Bytes;

use crate::Config;
use crate::conn::Conn;
use crate::handshake::{self, Negotiated};
use crate::proto::Role;

/// How many bytes each direction buffers.
const PIPE: usize = 64 * 1024;

/// Two connections that are connected in memory, for tests: the client and the server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ws_core::Error> {
/// let (client, server) = ws_core::pair();
/// client.write("hello").await?;
/// assert_eq!(server.read().await?.as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
pub fn pair() -> (Conn, Conn) {
    pair_with(Config::new(), Config::new())
}

/// As [`pair`], with the settings of the client and of the server. Compression is used if
/// both enable it.
pub fn pair_with(client: Config, server: Config) -> (Conn, Conn) {
    let compression = handshake::between(client.compression, server.compression);
    let negotiated = Negotiated { subprotocol: None, compression };
    let (here, there) = tokio::io::duplex(PIPE);
    (
        Conn::from_stream(here, Role::Client, negotiated.clone(), Bytes::new(), client),
        Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), server),
    )
}
