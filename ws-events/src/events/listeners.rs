//! Which handlers are registered for an event?

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::events::event::Event;

/// A registered handler: [`Hub::off`](crate::Hub::off) and [`Socket::off`](crate::Socket::off)
/// remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// A registered handler `H` with its id.
#[derive(Clone)]
pub(crate) struct Listener<H> {
    id: ListenerId,
    pub(crate) handler: H,
}

/// Handlers by event, in the order of their registration.
///
/// A dispatch uses the list as it was when the dispatch began: a handler may add and remove
/// handlers, including itself.
pub(crate) struct Listeners<H>(RwLock<ListenerTable<H>>);

struct ListenerTable<H> {
    own: [Option<Arc<[Listener<H>]>>; Event::COUNT],
    custom: HashMap<Arc<str>, Arc<[Listener<H>]>>,
    any: Option<Arc<[Listener<H>]>>,
}

impl<H> Default for Listeners<H> {
    fn default() -> Self {
        Self(RwLock::new(ListenerTable::default()))
    }
}

impl<H> Default for ListenerTable<H> {
    fn default() -> Self {
        Self { own: std::array::from_fn(|_| None), custom: HashMap::new(), any: None }
    }
}

static LAST_ID: AtomicU64 = AtomicU64::new(0);

impl<H: Clone> Listeners<H> {
    /// Registers a handler of an event, or with `None` of all custom events.
    pub(crate) fn add(&self, event: Option<Event>, handler: H) -> ListenerId {
        let id = ListenerId(LAST_ID.fetch_add(1, Ordering::Relaxed) + 1);
        let listener = Listener { id, handler };
        let mut table = self.0.write();
        let add = |list: Option<&Arc<[Listener<H>]>>| {
            list.into_iter().flat_map(|list| list.iter().cloned()).chain([listener]).collect()
        };
        match event {
            None => table.any = Some(add(table.any.as_ref())),
            Some(Event::Custom(name)) => {
                let list = add(table.custom.get(&name));
                table.custom.insert(name, list);
            }
            Some(event) => {
                if let Some(list) = event.index().and_then(|index| table.own.get_mut(index)) {
                    *list = Some(add(list.as_ref()));
                }
            }
        }
        id
    }

    /// Removes a handler. Returns whether it was registered.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        // Dropped without the lock: a value in a handler may use this table when dropped.
        let mut removed = None;
        let mut table = self.0.write();
        let mut without = |list: &mut Option<Arc<[Listener<H>]>>| {
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

    /// Removes all handlers of an event. Returns how many.
    pub(crate) fn remove_all(&self, event: &Event) -> usize {
        let mut table = self.0.write();
        let list = match event {
            Event::Custom(name) => table.custom.remove(name),
            event => {
                event.index().and_then(|index| table.own.get_mut(index)).and_then(Option::take)
            }
        };
        drop(table);
        list.map_or(0, |list| list.len())
    }

    /// Removes all handlers.
    pub(crate) fn clear(&self) {
        // Dropped without the lock, as in `remove`.
        let _table = std::mem::take(&mut *self.0.write());
    }

    /// The handlers of an event: those for its name, then those for all custom events.
    pub(crate) fn of(&self, event: &Event) -> [Option<Arc<[Listener<H>]>>; 2] {
        let table = self.0.read();
        match event {
            Event::Custom(name) => [table.custom.get(name).cloned(), table.any.clone()],
            event => {
                [event.index().and_then(|index| table.own.get(index)).cloned().flatten(), None]
            }
        }
    }

    /// All handlers, each with its event, or with `None` for all custom events.
    pub(crate) fn all(&self) -> Vec<(Option<Event>, H)> {
        let table = self.0.read();
        let own = Event::OWN.iter().zip(&table.own);
        let own = own.filter_map(|(event, list)| Some((Some(event.clone()), list.as_ref()?)));
        let custom = table.custom.iter();
        let custom = custom.map(|(name, list)| (Some(Event::Custom(Arc::clone(name))), list));
        let any = table.any.iter().map(|list| (None, list));
        own.chain(custom)
            .chain(any)
            .flat_map(|(event, list)| {
                list.iter().map(move |listener| (event.clone(), listener.handler.clone()))
            })
            .collect()
    }

    /// Whether an event has a handler.
    pub(crate) fn has_handler(&self, event: &Event) -> bool {
        let table = self.0.read();
        match event {
            Event::Custom(name) => table.any.is_some() || table.custom.contains_key(name),
            event => {
                event.index().and_then(|index| table.own.get(index)).is_some_and(Option::is_some)
            }
        }
    }
}
