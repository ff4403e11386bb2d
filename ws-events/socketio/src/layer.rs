//! How does a service that has other routes pass the requests of Socket.IO clients on?

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;

use crate::SocketIo;

/// Puts a [`SocketIo`] in front of a service, for frameworks that mount no service at a path, such
/// as warp. Made by [`SocketIo::at`].
#[derive(Clone, Debug)]
pub struct SocketIoLayer {
    socketio: SocketIo,
    path: Arc<str>,
}

/// A service that passes the requests for one path to a [`SocketIo`], and all others to the inner
/// service. Made by [`SocketIoLayer`].
#[derive(Clone, Debug)]
pub struct SocketIoOr<S> {
    layer: SocketIoLayer,
    other: S,
}

impl SocketIo {
    /// A layer of tower that serves the requests for `path` and below it, such as `/socket.io/`,
    /// and passes all others to the inner service.
    pub fn at(&self, path: &str) -> SocketIoLayer {
        let path = path.trim_end_matches('/').into();
        SocketIoLayer { socketio: self.clone(), path }
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoOr<S>;

    fn layer(&self, other: S) -> SocketIoOr<S> {
        SocketIoOr { layer: self.clone(), other }
    }
}

impl SocketIoLayer {
    fn serves(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The future of a response of either service.
type EitherResponding<R, E> = Pin<Box<dyn Future<Output = Result<Response<R>, E>> + Send>>;

impl<S, B, R> tower_service::Service<Request<B>> for SocketIoOr<S>
where
    S: tower_service::Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = EitherResponding<R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.other.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.layer.serves(request.uri().path()) {
            let socketio = self.layer.socketio.clone();
            return Box::pin(async move { Ok(socketio.serve(request).await) });
        }
        Box::pin(self.other.call(request))
    }
}
