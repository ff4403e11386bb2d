//! Which state do few connections have on their reading side?

use std::sync::Arc;

use bytes::Bytes;

use crate::CloseError;
use crate::conn::driver::rate_limits::RateMeter;
use crate::conn::driver::read_ahead::ReadAhead;
use crate::frame::Frame;
use crate::proto::CloseFrame;

/// State that few connections have, boxed to keep the others small. A connection that has any
/// of it does not take the fast path.
#[derive(Default)]
pub(crate) struct ColdState {
    pub(crate) ahead: ReadAhead,
    /// A control frame that arrived while frames are read.
    pub(crate) control: Option<Frame>,
    pub(crate) hooks: Hooks,
    /// The hook to run when the lock is released.
    pub(crate) call: Option<HookCall>,
    pub(crate) rates: Option<RateMeter>,
    /// The peer's close frame, until this side closes too.
    pub(crate) held_close: Option<CloseFrame>,
}

impl ColdState {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { ahead, control, hooks, call, rates, held_close } = self;
        ahead.is_empty()
            && control.is_none()
            && hooks.is_empty()
            && call.is_none()
            && rates.is_none()
            && held_close.is_none()
    }
}

/// A function of the application, called with the payload of a control frame.
pub(crate) type Hook<T> = Arc<dyn Fn(&T) -> AfterHook + Send + Sync>;

/// What the connection does after a hook.
pub(crate) enum AfterHook {
    /// Nothing.
    Continue,
    /// Answer a ping.
    Pong(Bytes),
    /// Answer the peer's close frame, unless the hook has.
    AnswerClose,
}

/// The functions of the application that are called for control frames.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) ping: Option<Hook<Bytes>>,
    pub(crate) pong: Option<Hook<Bytes>>,
    pub(crate) close: Option<Hook<CloseError>>,
}

impl Hooks {
    const fn is_empty(&self) -> bool {
        self.ping.is_none() && self.pong.is_none() && self.close.is_none()
    }
}

/// A [`Hook`] that is to be run, with its argument.
pub(crate) type HookCall = Box<dyn FnOnce() -> AfterHook + Send>;
