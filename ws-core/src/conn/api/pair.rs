//! How are two connected connections made in memory, for tests?

use bytes::Bytes;

use crate::Config;
use crate::conn::Conn;
use crate::handshake::Negotiated;
use crate::handshake::{AcceptOptions, Acceptor, Offer};
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
    let negotiated = shake_hands(&client, &server).unwrap_or_default();
    let (here, there) = tokio::io::duplex(PIPE);
    (
        Conn::from_stream(here, Role::Client, negotiated.clone(), Bytes::new(), client),
        Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), server),
    )
}

/// The opening handshake between the two.
fn shake_hands(client: &Config, server: &Config) -> Option<Negotiated> {
    let offer = Offer::new([""; 0], client.compression).ok()?;
    let mut request = http::Request::get("/").header(http::header::HOST, "localhost");
    request.headers_mut()?.extend(offer.headers());
    let options = AcceptOptions::new().compression(server.compression);
    let accepted = Acceptor::new(&options).answer(&request.body(()).ok()?).ok()?;
    offer.verify(&accepted.response).ok()
}
