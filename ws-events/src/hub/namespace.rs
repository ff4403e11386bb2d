//! Which namespaces does a hub have?

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::Hub;
use crate::registry::namespaces::NamespaceLease;
use crate::socketio::ROOT;

impl Hub {
    /// The namespace with this name: a separate hub, with its own sockets, rooms, handlers and
    /// middleware, and with the settings and state of this hub. The first call creates it, and it
    /// stays as long as this hub. A missing `/` at the start of the name is added. The name `/` is
    /// the hub that is not a namespace.
    ///
    /// A client of Socket.IO may connect to several namespaces by one connection. For a connection
    /// of another protocol, use [`serve`](Self::serve) of the namespace.
    ///
    /// ```
    /// use ws_events::{Hub, Socket};
    ///
    /// let hub = Hub::builder().envelope().build();
    /// let admin = hub.of("/admin");
    /// admin.on_connect(async |socket: Socket| socket.emit("welcome", "hello, admin"));
    /// assert_eq!(admin.namespace(), "/admin");
    /// ```
    #[doc(alias("namespace", "ns"))]
    #[must_use = "a namespace without handlers does little"]
    pub fn of(&self, name: impl AsRef<str>) -> Self {
        let name = with_slash(name.as_ref());
        let root = self.root();
        if name == ROOT {
            return root;
        }
        root.0.namespaces.get_or_insert(&name, || root.child(&name))
    }

    /// Lets clients of Socket.IO ask for namespaces whose names match a pattern, in which each `*`
    /// stands for one or more characters. Such a namespace is created for its first client, set up
    /// by `set_up` with its handlers, and removed with its last client.
    /// [`SocketIoLimits::dynamic_namespaces`](crate::socketio::SocketIoLimits::dynamic_namespaces)
    /// limits their number.
    ///
    /// The client chooses the name: middleware should check it.
    ///
    /// ```
    /// use ws_events::{EncodeError, Hub, Json, Socket};
    ///
    /// let hub = Hub::builder().envelope().build();
    /// hub.of_each("/tenant-*", |tenant| {
    ///     tenant.on("say", async |socket: Socket, Json(text): Json<String>| {
    ///         // To the sockets of the same tenant.
    ///         socket.broadcast().emit("said", &text).map(drop)
    ///     });
    /// });
    /// ```
    pub fn of_each(
        &self,
        pattern: impl AsRef<str>,
        set_up: impl Fn(&Self) + Send + Sync + 'static,
    ) {
        let pattern = with_slash(pattern.as_ref());
        self.root().0.namespaces.add_pattern(&pattern, Arc::new(set_up));
    }

    /// The name of the namespace: `/` for a hub that is not a namespace.
    pub fn namespace(&self) -> &str {
        self.0.namespace()
    }

    /// The namespace for a client; `None` if there is none with this name.
    pub(crate) fn lease(&self, name: &str) -> Option<NamespaceLease<Self>> {
        if name == ROOT {
            return Some(NamespaceLease::of(self.clone()));
        }
        let limit = self.0.socketio.dynamic_namespaces;
        let lease = self.0.namespaces.lease(name, limit, || self.child(name))?;
        // One that was being made while a drain began is not among those that the drain closes.
        if self.0.draining.load(SeqCst) {
            lease.namespace.0.draining.store(true, SeqCst);
        }
        Some(lease)
    }

    /// The hub that all namespaces belong to. A namespace whose hub has no handles any more stands
    /// for itself.
    fn root(&self) -> Self {
        let root = self.0.root.as_ref().and_then(|(root, _)| root.upgrade());
        root.map_or_else(|| self.clone(), Self)
    }
}

fn with_slash(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::registry::namespaces::NamespaceTable;

    #[test]
    fn a_namespace_that_a_client_asked_for_is_removed_with_its_last_lease() {
        let table = Arc::new(NamespaceTable::new());
        let set_up = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&set_up);
        table.add_pattern("/dyn-*", Arc::new(move |name: &String| names.lock().push(name.clone())));
        assert_eq!(table.get_or_insert("/fixed", || "fixed".to_owned()), "fixed");
        assert!(table.lease("/other", 1, || "other".to_owned()).is_none());
        drop(table.lease("/fixed", 1, || "again".to_owned()).unwrap());
        let first = table.lease("/dyn-1", 1, || "one".to_owned()).unwrap();
        let second = table.lease("/dyn-1", 1, || "two".to_owned()).unwrap();
        assert_eq!((&*first.namespace, &*second.namespace), ("one", "one"));
        assert!(table.lease("/dyn-2", 1, || "two".to_owned()).is_none());
        drop(first);
        assert_eq!(table.all().len(), 2);
        drop(second);
        assert_eq!(table.all(), ["fixed"]);
        let third = table.lease("/dyn-2", 1, || "three".to_owned()).unwrap();
        // The application asks for it by name: it stays.
        assert_eq!(table.get_or_insert("/dyn-2", || "four".to_owned()), "three");
        drop(third);
        assert_eq!(table.all().len(), 2);
        assert_eq!(*set_up.lock(), ["one", "three"]);
    }
}
