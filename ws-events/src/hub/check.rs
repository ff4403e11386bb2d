//! Can the handlers of a hub work?

use std::sync::atomic::Ordering::Relaxed;

use ws_core::Escaped;

use crate::{Event, Hub};

/// What is wrong with the handlers of a hub: see [`Hub::check`]. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct CheckError(Vec<String>);

impl CheckError {
    /// The problems, each as a text.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl Hub {
    /// Checks whether the handlers that are registered now can work. Call it when all are, and after
    /// `SocketIo::new(&hub)` if the hub serves clients of Socket.IO.
    ///
    /// The hub also checks them when the first socket connects, and then logs what is wrong as a
    /// warning. Handlers of single sockets are not checked.
    ///
    /// ```
    /// use ws_events::{Hub, Json};
    ///
    /// let hub = Hub::new();
    /// hub.on("say", async |Json(_text): Json<String>| {});
    /// let error = hub.check().unwrap_err();
    /// assert!(error.to_string().contains("HubBuilder::envelope"));
    /// ```
    ///
    /// # Errors
    ///
    /// If there is a handler of custom events, and the sockets can send only messages: such
    /// handlers are called only by [`fire`](Self::fire). [`serves`](crate::HubBuilder::serves) says that
    /// [`serve_as`](Self::serve_as) will serve sockets that can send events; clients of Socket.IO can,
    /// too. If a handler takes a
    /// [`State<T>`](crate::State) that the hub does not have, or another argument whose
    /// [`FromEvent::check`](crate::FromEvent::check) fails.
    pub fn check(&self) -> Result<(), CheckError> {
        let receives_events = self.0.has_events.load(Relaxed);
        let mut problems = Vec::new();
        for (event, handler) in self.0.listeners.all() {
            let name = match &event {
                Some(event) => format!("`{event}`"),
                None => "all custom events".to_owned(),
            };
            if !receives_events && matches!(event, None | Some(Event::Custom(_))) {
                problems.push(format!(
                    "no socket can send the event of a handler of {name}: build the hub with \
                     `HubBuilder::envelope`, or with `HubBuilder::serves` for `serve_as`, or make its \
                     `SocketIo` service before the check, unless only `fire` calls the handler"
                ));
            }
            if let Err(problem) = handler.check(self) {
                problems.push(format!("a handler of {name}: {}", Escaped::new(&problem)));
            }
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(CheckError(problems)) }
    }

    /// Checks the handlers when the first socket connects.
    pub(crate) fn check_once(&self) {
        if self.0.checked.load(Relaxed) || self.0.checked.swap(true, Relaxed) {
            return;
        }
        if let Err(error) = self.check() {
            tracing::warn!(%error, "a hub has handlers that cannot work");
        }
    }
}
