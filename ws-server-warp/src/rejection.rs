//! How does a rejected handshake become a warp rejection, and how does that become a reply?

use warp::Reply;
use warp::reject::Reject;
use warp::reply::Response;
use ws_core::Rejection;

/// A [`Rejection`] as a custom warp rejection and as a reply: its status, headers and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct HandshakeRejected(#[from] pub Rejection);

impl Reject for HandshakeRejected {}

impl Reply for HandshakeRejected {
    fn into_response(self) -> Response {
        self.0.into_response().map(Into::into)
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
