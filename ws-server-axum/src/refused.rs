//! How is a refusal answered?

use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use ws_core::Rejection;

/// Why a request was refused: a [`Rejection`] that axum can answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Rejection);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response().map(Body::from)
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
