//! What does the application keep with a connection?

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Response;
use once_cell::race::OnceBox;
use parking_lot::Mutex;
use tracing::Span;

/// Values that the application keeps with a connection, by type or by name.
///
/// Shared by all handles of the connection. Takes no memory until it is used. A value
/// goes in and out by clone; wrap what is dear in an [`Arc`]. A clone of all of them has
/// the same values, and is changed by itself.
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
    /// Nothing is kept any more.
    sealed: bool,
    typed: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    named: HashMap<String, Arc<dyn Any + Send + Sync>>,
    own: Own,
}

/// What the library keeps here itself, because most connections have none of it. The
/// application cannot take it away.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) response: Option<Arc<Response<()>>>,
    pub(crate) span: Option<Span>,
}

impl Attributes {
    /// Keeps a value by its type, in place of one that was kept before.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.keep(|maps| maps.typed.insert(TypeId::of::<T>(), Arc::new(value)));
    }

    /// The value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        // Cloned without the lock, as it is dropped: how that is done is up to the application.
        let kept = self.0.get()?.lock().typed.get(&TypeId::of::<T>()).cloned();
        cloned(kept.as_ref())
    }

    /// Takes the value of this type out.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let removed = self.0.get()?.lock().typed.remove(&TypeId::of::<T>());
        cloned(removed.as_ref())
    }

    /// Keeps a value by a name, in place of one that was kept before.
    pub fn set<T: Clone + Send + Sync + 'static>(&self, name: impl Into<String>, value: T) {
        let name = name.into();
        self.keep(|maps| maps.named.insert(name, Arc::new(value)));
    }

    /// The value of this name, if it has this type.
    pub fn named<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<T> {
        let kept = self.0.get()?.lock().named.get(name).cloned();
        cloned(kept.as_ref())
    }

    /// Takes the value of this name out, if there is one. Says whether there was.
    pub fn unset(&self, name: &str) -> bool {
        let unset = self.0.get().and_then(|maps| maps.lock().named.remove(name));
        unset.is_some()
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        // Dropped without the lock: what goes may look here once more.
        let _forgotten = self.0.get().map(|maps| {
            let mut maps = maps.lock();
            (std::mem::take(&mut maps.typed), std::mem::take(&mut maps.named))
        });
    }

    /// Looks at what the library keeps.
    pub(crate) fn own<T>(&self, look: impl FnOnce(&Own) -> Option<T>) -> Option<T> {
        look(&self.0.get()?.lock().own)
    }

    /// Changes what the library keeps.
    pub(crate) fn change_own<T>(&self, change: impl FnOnce(&mut Own) -> T) -> T {
        change(&mut self.maps().lock().own)
    }

    /// Forgets all of them, and keeps none from now on: for whoever knows that nobody will
    /// ask again, though somebody may hold on to this.
    pub fn seal(&self) {
        let _forgotten =
            std::mem::replace(&mut *self.maps().lock(), Maps { sealed: true, ..Maps::default() });
    }

    /// Keeps a value, and drops the one before it without the lock: it may look here.
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
        // What the library keeps is all there is, mostly, and that is the connection's own.
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
    fn a_value_is_found_by_the_type_and_the_name_it_was_kept_under() {
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
    fn a_clone_has_the_same_values_and_is_changed_by_itself() {
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

    /// Looks at the values when it is cloned, and when it is dropped.
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
    fn a_value_that_goes_may_look_at_the_others() {
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
    fn a_value_may_look_at_the_others_while_it_is_cloned() {
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
