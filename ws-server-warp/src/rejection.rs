//! How does a rejected handshake become a warp rejection, and how does that become a reply?

use warp::Reply;
use warp::reject::Reject;
use warp::reply::Response;
use ws_core::Rejection;

/// A [`Rejection`] as a custom warp rejection and as a reply: its status, headers and text.
///
/// The reply to an ordinary GET is the reason for which a handshake of this client would be refused
/// now, such as 429, or else 426: see [`Acceptor::explain`](crate::Acceptor::explain). The rejection
/// stays the one by which [`Rejection::falls_through`] decides whether another filter is tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeRejected(pub Rejection, Option<Box<Rejection>>);

impl HandshakeRejected {
    /// The reply is that of another reason.
    pub(crate) fn explained(rejection: Rejection, reason: Rejection) -> Self {
        let reason = (reason != rejection).then(|| Box::new(reason));
        Self(rejection, reason)
    }
}

impl From<Rejection> for HandshakeRejected {
    fn from(rejection: Rejection) -> Self {
        Self(rejection, None)
    }
}

impl Reject for HandshakeRejected {}

impl Reply for HandshakeRejected {
    fn into_response(self) -> Response {
        self.1.map_or(self.0, |reason| *reason).into_response().map(Into::into)
    }
}

/// Replies to [`HandshakeRejected`] with its status, headers and text. Pass it to warp's
/// `recover`.
///
/// # Errors
///
/// Returns every other rejection unchanged.
pub async fn recover(rejection: warp::Rejection) -> Result<HandshakeRejected, warp::Rejection> {
    match rejection.find::<HandshakeRejected>() {
        Some(rejected) => Ok(rejected.clone()),
        None => Err(rejection),
    }
}
