//! How does a request become an answer and a connection to come?

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use ws_core::{AcceptOptions, Rejection, RequestInfo};

use crate::Upgrade;

/// Answers a request that asks for a WebSocket.
///
/// The response has to be returned from the service, and the [`Upgrade`] awaited in
/// another task: hyper hands the transport over after it has sent the response. The
/// body of the response is empty, whatever its type.
///
/// The request gives up its `OnUpgrade` extension; the rest of it can still be used,
/// and is kept as [`Conn::request`](ws_core::Conn::request).
///
/// # Errors
///
/// When the request is refused. [`Rejection::into_response`] is the answer to it.
pub fn accept<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let accepted = options.answer(request)?;
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(Rejection::NotUpgradable);
    }
    let on_upgrade = hyper::upgrade::on(&mut *request);
    let mut kept = RequestInfo::default();
    kept.uri = request.uri().clone();
    kept.headers = request.headers().clone();
    kept.extensions = request.extensions().clone();
    let upgrade = Upgrade::new(on_upgrade, accepted.agreed, options, kept);
    Ok((accepted.response.map(|()| R::default()), upgrade))
}
