//! Which checks does a connection pass before it is a socket, and how is it rejected?

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;

use futures::FutureExt as _;
use ws_core::{Error, Escaped, StatusCode};

use crate::delivery::recipient::Recipient as _;
use crate::delivery::stats::add;
use crate::delivery::wire_format::WireFormat;
use crate::events::dispatch::panic_text;
use crate::link::Link;
use crate::session::lifecycle::{Connected, Connecting};
use crate::session::recovery::ResumeRequest;
use crate::{ConnectRejection, Hub, Socket};

/// Admits a connection, unless middleware or the hub rejects it.
pub(crate) async fn admit(hub: Hub, link: &Link, format: WireFormat) -> Option<Connected> {
    hub.0.serves(format);
    hub.check_once();
    let request = resume_request(link, format).await?;
    let mut connecting = Connecting::new(hub, link, format);
    #[cfg(feature = "metrics")]
    connecting.socket.hub().start_metrics();
    let socket = connecting.socket.clone();
    let checked = run_middleware(&socket, link).await?;
    let admitted = match checked {
        Ok(()) => connecting.admit(link, request.as_ref()).await,
        Err(rejection) => Err(rejection),
    };
    let rejection = match admitted {
        Ok(connected) => {
            match link {
                Link::Conn(conn) => socket.0.watch_control_frames(conn),
                // It fails if the session has ended.
                Link::Namespace(link) => _ = link.send_answer().await,
            }
            return Some(connected);
        }
        Err(rejection) => rejection,
    };
    add(&socket.0.delivery().counters.rejected, 1);
    socket.0.stop_sending();
    if let Some(recovery) = socket.0.recovery() {
        // What was held back until an answer, which does not come.
        recovery.discard_held(&socket.0.delivery().counters);
    }
    match link {
        Link::Conn(conn) => {
            let reason = rejection.cut_reason();
            if let Err(Error::SendError(_)) = conn.close(rejection.code, reason).await {
                let _ = conn.close(StatusCode::POLICY_VIOLATION, reason).await;
            }
        }
        // The client is to come back. Other namespaces may still have messages for it.
        Link::Namespace(link) if hub_drains(&socket) => {
            link.group().close(rejection.code, &rejection.reason);
        }
        Link::Namespace(link) => link.refuse(&rejection.reason, rejection.data.as_deref()).await,
    }
    None
}

/// What the client asks for, if its session can be recovered. `None` if the connection has ended.
async fn resume_request(link: &Link, format: WireFormat) -> Option<Option<ResumeRequest>> {
    if !format.is_resumable() {
        return Some(None);
    }
    Some(Some(match link {
        Link::Conn(conn) => ResumeRequest::read(conn).await?,
        Link::Namespace(link) => ResumeRequest::of_auth(link.auth()),
    }))
}

fn hub_drains(socket: &Socket) -> bool {
    socket.0.hub.draining.load(SeqCst)
}

/// The result of the middleware; `None` if the connection ends meanwhile.
async fn run_middleware(socket: &Socket, link: &Link) -> Option<Result<(), ConnectRejection>> {
    let hub = &socket.0.hub;
    let middleware = hub.middleware.read().clone();
    if middleware.is_empty() {
        return Some(Ok(()));
    }
    if hub.draining.load(SeqCst) {
        return Some(Err(ConnectRejection::draining()));
    }
    let mut drain_started = pin!(hub.drain_started());
    let checks = async {
        for check in middleware {
            check(socket.clone()).await?;
        }
        Ok(())
    };
    let mut checks = pin!(AssertUnwindSafe(checks).catch_unwind());
    let mut closed = pin!(link.closed());
    poll_fn(|cx| {
        if let Poll::Ready(result) = checks.as_mut().poll(cx) {
            return Poll::Ready(Some(result.unwrap_or_else(|panic| Err(reject_panic(&*panic)))));
        }
        if drain_started.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(ConnectRejection::draining())));
        }
        closed.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// The rejection of a connection whose middleware has panicked.
fn reject_panic(panic: &(dyn Any + Send)) -> ConnectRejection {
    tracing::error!(text = %Escaped::new(&*panic_text(panic)), "middleware has panicked");
    ConnectRejection::new("").code(StatusCode::INTERNAL_ERROR)
}
