//! How does a session run beside its application, from the handshake to its end?

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ws_core::StatusCode;
use ws_core::handler::ConnectionGuard;
use ws_events::engine::{EngineSession, EngineSessions};

/// What the application does with a session.
pub(crate) type SessionHandler =
    Arc<dyn Fn(EngineSession) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Runs a session that has begun with a WebSocket.
pub(crate) async fn run(session: EngineSession, handler: SessionHandler) {
    let ended = EndOnDrop(session);
    tokio::join!(ended.0.drive(), apply(&ended.0, handler));
}

/// Runs the application, and then closes the session, and drops what it has not received.
async fn apply(session: &EngineSession, handler: SessionHandler) {
    handler(session.clone()).await;
    // Boxed: a session holds no memory for its end.
    Box::pin(session.close(StatusCode::NORMAL_CLOSURE)).await;
    // Nobody makes room in a full inbox any more.
    session.close_now();
}

/// Runs a session that has begun with polling. Whatever the application does, the session leaves the
/// table when it has ended and the client knows it.
pub(crate) async fn run_polling(
    session: EngineSession,
    handler: SessionHandler,
    sessions: EngineSessions,
    guard: ConnectionGuard,
) {
    let ended = EndOnDrop(session);
    let removed = RemoveOnDrop { sessions, session: ended.0.clone() };
    let driving = async {
        ended.0.drive().await;
        drop(removed);
    };
    let running = async { tokio::join!(driving, apply(&ended.0, handler)) };
    // Until the application has returned, or the timeout of a drain has passed.
    let _ = guard.run_session(running).await;
}

/// Ends a session whose task is dropped, or whose application has panicked.
struct EndOnDrop(EngineSession);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.close_now();
    }
}

struct RemoveOnDrop {
    sessions: EngineSessions,
    session: EngineSession,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        self.sessions.remove(&self.session);
    }
}
