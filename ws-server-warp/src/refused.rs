//! How is a refusal rejected, and answered in the end?

use std::fmt;

use warp::Reply;
use warp::reject::Reject;
use warp::reply::Response;
use ws_core::Rejection;

/// Why a request was refused: a [`Rejection`] that warp can reject with, and reply with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Rejection);

impl Reject for Refused {}

impl Reply for Refused {
    fn into_response(self) -> Response {
        self.0.into_response().map(Into::into)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self(rejection)
    }
}

/// Answers a refusal with its status and headers, and passes on every other rejection: for
/// warp's `recover`.
///
/// # Errors
///
/// What is no [`Refused`].
pub async fn recover(rejection: warp::Rejection) -> Result<Refused, warp::Rejection> {
    match rejection.find::<Refused>() {
        Some(refused) => Ok(refused.clone()),
        None => Err(rejection),
    }
}
