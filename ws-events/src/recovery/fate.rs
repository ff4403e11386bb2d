//! What decides whether a session waits for its client when its connection has ended?

/// What has happened to a session before its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionFate {
    Open,
    /// Another connection has ended this one, to get the session.
    TakenOver,
    /// The application has closed the socket for good.
    Kicked,
}

/// How a connection has ended, for its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// It was lost, or closed for later.
    Lost,
    /// By the client, for good.
    ClientLeft,
    /// By the application, for good.
    Kicked,
}
