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
    let _ended = EndOnDrop(session.clone());
    let application = async {
        handler(session.clone()).await;
        session.close(StatusCode::NORMAL_CLOSURE).await;
    };
    tokio::join!(session.drive(), application);
}

/// Runs a session that has begun with polling. Whatever happens to the application, it leaves the
/// table at its end.
pub(crate) async fn run_polling(
    session: EngineSession,
    handler: SessionHandler,
    sessions: EngineSessions,
    guard: ConnectionGuard,
) {
    let _removed = RemoveOnDrop { sessions, session: session.clone() };
    // Until the session has ended, or the timeout of a drain has passed.
    let _ = guard.wait(run(session, handler)).await;
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
