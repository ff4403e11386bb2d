//! Who wants to hear of which event?

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::events::handler::Handling;
use crate::{Event, EventPayload, Handler};

/// A handler that was registered: [`Hub::off`](crate::Hub::off) and
/// [`Socket::off`](crate::Socket::off) remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// A handler, whatever its arguments are.
#[derive(Clone)]
pub(crate) struct Listener {
    id: ListenerId,
    handler: Arc<dyn Handle>,
}

trait Handle: Send + Sync {
    fn handle(&self, event: &EventPayload) -> Result<Handling, String>;
}

struct Of<H, Args>(H, std::marker::PhantomData<fn(Args)>);

impl<H: Handler<Args>, Args: 'static> Handle for Of<H, Args> {
    fn handle(&self, event: &EventPayload) -> Result<Handling, String> {
        self.0.handle(event)
    }
}

impl Listener {
    pub(crate) fn handle(&self, event: &EventPayload) -> Result<Handling, String> {
        self.handler.handle(event)
    }
}

/// Handlers by event, in the order in which they were registered.
///
/// Whoever dispatches takes the list as it is: a handler may add and remove others, and
/// itself.
#[derive(Default)]
pub(crate) struct Listeners(RwLock<Table>);

#[derive(Default)]
struct Table {
    own: [Option<Arc<[Listener]>>; Event::PLACES],
    custom: HashMap<Arc<str>, Arc<[Listener]>>,
    any: Option<Arc<[Listener]>>,
}

static LAST: AtomicU64 = AtomicU64::new(0);

impl Listeners {
    /// Adds a handler of an event, or of every custom event.
    pub(crate) fn add<H, Args>(&self, event: Option<Event>, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: 'static,
    {
        let id = ListenerId(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        let handler = Arc::new(Of(handler, std::marker::PhantomData));
        let listener = Listener { id, handler };
        let mut table = self.0.write();
        let add = |list: Option<&Arc<[Listener]>>| {
            list.into_iter().flat_map(|list| list.iter().cloned()).chain([listener]).collect()
        };
        match event {
            None => table.any = Some(add(table.any.as_ref())),
            Some(Event::Custom(name)) => {
                let list = add(table.custom.get(&name));
                table.custom.insert(name, list);
            }
            Some(event) => {
                if let Some(list) = event.place().and_then(|place| table.own.get_mut(place)) {
                    *list = Some(add(list.as_ref()));
                }
            }
        }
        id
    }

    /// Removes a handler. Says whether it was there.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        // Dropped without the lock: what a handler holds may look here once more.
        let mut removed = None;
        let mut table = self.0.write();
        let mut without = |list: &mut Option<Arc<[Listener]>>| {
            if let Some(found) = list
                && found.iter().any(|listener| listener.id == id)
            {
                let rest: Arc<[_]> =
                    found.iter().filter(|listener| listener.id != id).cloned().collect();
                removed = std::mem::replace(list, Some(rest).filter(|rest| !rest.is_empty()));
            }
        };
        table.own.iter_mut().for_each(&mut without);
        without(&mut table.any);
        table.custom.retain(|_, list| {
            let mut rest = Some(Arc::clone(list));
            without(&mut rest);
            rest.is_some_and(|rest| {
                *list = rest;
                true
            })
        });
        drop(table);
        removed.is_some()
    }

    /// Removes all handlers of an event. Says how many they were.
    pub(crate) fn remove_all(&self, event: &Event) -> usize {
        let mut table = self.0.write();
        let list = match event {
            Event::Custom(name) => table.custom.remove(name),
            event => {
                event.place().and_then(|place| table.own.get_mut(place)).and_then(Option::take)
            }
        };
        drop(table);
        list.map_or(0, |list| list.len())
    }

    /// Removes all handlers.
    pub(crate) fn clear(&self) {
        // Dropped without the lock: they may be of the application.
        let _table = std::mem::take(&mut *self.0.write());
    }

    /// The handlers of an event, as they are now.
    pub(crate) fn of(&self, event: &Event) -> [Option<Arc<[Listener]>>; 2] {
        let table = self.0.read();
        match event {
            Event::Custom(name) => [table.custom.get(name).cloned(), table.any.clone()],
            event => {
                [event.place().and_then(|place| table.own.get(place)).cloned().flatten(), None]
            }
        }
    }

    /// Would anybody hear of it?
    pub(crate) fn hears(&self, event: &Event) -> bool {
        let table = self.0.read();
        match event {
            Event::Custom(name) => table.any.is_some() || table.custom.contains_key(name),
            event => {
                event.place().and_then(|place| table.own.get(place)).is_some_and(Option::is_some)
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.read();
        f.debug_struct("Listeners").field("custom", &table.custom.len()).finish_non_exhaustive()
    }
}
