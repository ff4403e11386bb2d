//! Which values does the application attach to a connection?

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use once_cell::race::OnceBox;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Span;

/// Values that the application attaches to a connection, by type or by name.
///
/// All handles of the connection share them. They take no memory until the first use. Reads
/// clone the value; wrap large values in an [`Arc`]. A clone of `Attributes` is independent.
///
/// ```
/// # let (conn, _peer) = ws_core::pair();
/// #[derive(Clone, PartialEq, Debug)]
/// struct User(String);
///
/// conn.attributes().insert(User("ann".into()));
/// conn.attributes().set("room", 7_u32);
/// assert_eq!(conn.attributes().get::<User>(), Some(User("ann".into())));
/// assert_eq!(conn.attributes().named::<u32>("room"), Some(7));
/// ```
#[derive(Default)]
pub struct Attributes(OnceBox<Mutex<Maps>>);

#[derive(Default)]
struct Maps {
    /// Insertions are ignored.
    sealed: bool,
    typed: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    named: HashMap<String, Arc<dyn Any + Send + Sync>>,
    own: Own,
}

/// Values of the library that most connections do not have. The application cannot remove
/// them.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) response: Option<Arc<Response<()>>>,
    /// The address of the client, if it is neither that of the transport nor in the request.
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) span: Option<Span>,
    /// When the connection has opened, if its end will be logged or measured.
    pub(crate) opened: Option<Instant>,
    /// What is dropped with the connection.
    #[cfg(feature = "server")]
    pub(crate) held: Vec<Box<dyn Any + Send + Sync>>,
}

impl Attributes {
    /// Attaches a value by its type, and replaces the earlier one.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.keep(|maps| maps.typed.insert(TypeId::of::<T>(), Arc::new(value)));
    }

    /// The value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        // Cloned and dropped without the lock: that runs code of the application.
        let kept = self.0.get()?.lock().typed.get(&TypeId::of::<T>()).cloned();
        cloned(kept.as_ref())
    }

    /// Removes and returns the value of this type.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let removed = self.0.get()?.lock().typed.remove(&TypeId::of::<T>());
        cloned(removed.as_ref())
    }

    /// Attaches a value by a name, and replaces the earlier one.
    pub fn set<T: Clone + Send + Sync + 'static>(&self, name: impl Into<String>, value: T) {
        let name = name.into();
        self.keep(|maps| maps.named.insert(name, Arc::new(value)));
    }

    /// The value with this name, if it has this type.
    pub fn named<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<T> {
        let kept = self.0.get()?.lock().named.get(name).cloned();
        cloned(kept.as_ref())
    }

    /// Removes the value with this name. Returns whether it existed.
    pub fn unset(&self, name: &str) -> bool {
        let unset = self.0.get().and_then(|maps| maps.lock().named.remove(name));
        unset.is_some()
    }

    /// Removes all values.
    pub fn clear(&self) {
        // Dropped without the lock: a destructor may access the values.
        let _removed = self.0.get().map(|maps| {
            let mut maps = maps.lock();
            (std::mem::take(&mut maps.typed), std::mem::take(&mut maps.named))
        });
    }

    /// Reads the values of the library.
    pub(crate) fn own<T>(&self, look: impl FnOnce(&Own) -> Option<T>) -> Option<T> {
        look(&self.0.get()?.lock().own)
    }

    /// Changes the values of the library.
    pub(crate) fn change_own<T>(&self, change: impl FnOnce(&mut Own) -> T) -> T {
        change(&mut self.maps().lock().own)
    }

    /// Removes all values, and ignores insertions from now on: for a connection that has ended
    /// while handles of it remain.
    pub fn seal(&self) {
        let _removed = {
            let mut maps = self.maps().lock();
            let own = std::mem::take(&mut maps.own);
            std::mem::replace(&mut *maps, Maps { sealed: true, own, ..Maps::default() })
        };
    }

    /// Inserts a value, and drops the earlier one without the lock: its destructor may access
    /// the values.
    fn keep(&self, insert: impl FnOnce(&mut Maps) -> Option<Arc<dyn Any + Send + Sync>>) {
        let mut maps = self.maps().lock();
        let _before = if maps.sealed { None } else { insert(&mut maps) };
        drop(maps);
    }

    fn maps(&self) -> &Mutex<Maps> {
        self.0.get_or_init(Box::default)
    }
}

impl Clone for Attributes {
    fn clone(&self) -> Self {
        let Some(maps) = self.0.get() else { return Self::default() };
        let (sealed, typed, named) = {
            let maps = maps.lock();
            (maps.sealed, maps.typed.clone(), maps.named.clone())
        };
        let clone = Self::default();
        // Often there are only values of the library, and they belong to the connection.
        if sealed || !typed.is_empty() || !named.is_empty() {
            *clone.maps().lock() = Maps { sealed, typed, named, own: Own::default() };
        }
        clone
    }
}

fn cloned<T: Clone + 'static>(value: Option<&Arc<dyn Any + Send + Sync>>) -> Option<T> {
    value?.downcast_ref::<T>().cloned()
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (typed, named) = self.0.get().map_or((0, 0), |maps| {
            let maps = maps.lock();
            (maps.typed.len(), maps.named.len())
        });
        f.debug_struct("Attributes").field("typed", &typed).field("named", &named).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_or_name() {
        let values = Attributes::default();
        assert_eq!(values.get::<u8>(), None);
        values.insert(1_u8);
        values.set("a", "text");
        assert_eq!(values.get::<u8>(), Some(1));
        assert_eq!(values.get::<u16>(), None);
        assert_eq!(values.named::<&str>("a"), Some("text"));
        assert_eq!(values.named::<u8>("a"), None);
        assert!(values.unset("a") && !values.unset("a"));
        assert_eq!(values.remove::<u8>(), Some(1));
        assert_eq!(values.get::<u8>(), None);
        values.set("b", 2_u8);
        values.clear();
        assert_eq!(values.named::<u8>("b"), None);
        values.insert(3_u8);
        values.seal();
        values.insert(4_u8);
        values.set("c", 5_u8);
        assert_eq!((values.get::<u8>(), values.named::<u8>("c")), (None, None));
    }

    fn copy(values: &Attributes) -> Attributes {
        values.clone()
    }

    #[test]
    fn a_clone_has_the_same_values_and_is_independent() {
        let values = Attributes::default();
        assert!(copy(&values).0.get().is_none());
        values.change_own(|own| own.span = Some(Span::none()));
        assert!(copy(&values).0.get().is_none());
        values.insert(1_u8);
        values.set("a", 2_u8);
        let clone = copy(&values);
        values.insert(3_u8);
        assert!(clone.unset("a"));
        assert_eq!((clone.get::<u8>(), clone.named::<u8>("a")), (Some(1), None));
        assert_eq!((values.get::<u8>(), values.named::<u8>("a")), (Some(3), Some(2)));
        assert!(clone.own(|own| own.span.clone()).is_none());
        values.seal();
        let sealed = copy(&values);
        sealed.insert(4_u8);
        assert_eq!(sealed.get::<u8>(), None);
    }

    /// Accesses the values when it is cloned, and when it is dropped.
    struct Looks(Arc<Attributes>);

    impl Clone for Looks {
        fn clone(&self) -> Self {
            self.0.get::<u8>();
            Self(Arc::clone(&self.0))
        }
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.get::<u8>();
        }
    }

    #[test]
    fn a_destructor_may_access_the_other_values() {
        let values = Arc::new(Attributes::default());
        let ways: [fn(&Attributes); 3] =
            [|values| _ = values.unset("a"), |values| values.clear(), |values| values.seal()];
        for forget in ways {
            values.set("a", Looks(Arc::clone(&values)));
            values.set("a", Looks(Arc::clone(&values)));
            values.insert(Looks(Arc::clone(&values)));
            values.remove::<Looks>();
            forget(&values);
        }
    }

    #[test]
    fn a_clone_may_access_the_other_values() {
        let (done, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let values = Arc::new(Attributes::default());
            values.insert(Looks(Arc::clone(&values)));
            values.set("a", Looks(Arc::clone(&values)));
            assert!(values.get::<Looks>().is_some() && values.named::<Looks>("a").is_some());
            values.clear();
            done.send(()).unwrap();
        });
        wait.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    }
}
