//! How is a rejected handshake turned into an axum response?

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use ws_core::Rejection;

/// A [`Rejection`] as an axum response: its status, headers and text.
#[doc(alias = "WebSocketUpgradeRejection")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct UpgradeRejection(#[from] pub Rejection);

impl IntoResponse for UpgradeRejection {
    fn into_response(self) -> Response {
        self.0.into_response().map(Body::from)
    }
}
