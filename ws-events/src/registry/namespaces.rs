//! Which namespaces does a hub have, and when are those removed that a client has asked for?

use std::collections::HashMap;

use crate::sync::{Arc, Mutex};

/// Namespaces by name. `N` is a namespace.
pub(crate) struct NamespaceTable<N>(Mutex<Namespaces<N>>);

struct Namespaces<N> {
    named: HashMap<Arc<str>, NamespaceEntry<N>>,
    patterns: Vec<NamespacePattern<N>>,
    /// The number of those that were made for a client.
    dynamic: usize,
}

struct NamespaceEntry<N> {
    namespace: N,
    /// How many clients use it, if it was made for a client.
    leases: Option<usize>,
}

struct NamespacePattern<N> {
    /// With `*` for any text.
    pattern: Arc<str>,
    set_up: Arc<SetUp<N>>,
}

/// Sets up a namespace that is made for a client.
pub(crate) type SetUp<N> = dyn Fn(&N) + Send + Sync;

/// The right to use a namespace, which stays until this is dropped.
pub(crate) struct NamespaceLease<N> {
    pub(crate) namespace: N,
    /// If it was made for a client. Boxed: most are not.
    made: Option<Box<MadeNamespace<N>>>,
}

/// Where a namespace is removed that was made for a client, and its name.
struct MadeNamespace<N> {
    table: Arc<NamespaceTable<N>>,
    name: Arc<str>,
}

impl<N: Clone> NamespaceTable<N> {
    pub(crate) fn new() -> Self {
        let (named, patterns) = (HashMap::new(), Vec::new());
        Self(Mutex::new(Namespaces { named, patterns, dynamic: 0 }))
    }

    /// The namespace with this name, which stays for good.
    pub(crate) fn get_or_insert(&self, name: &str, make: impl FnOnce() -> N) -> N {
        let mut table = self.0.lock();
        if let Some(entry) = table.named.get_mut(name) {
            let was_dynamic = entry.leases.take().is_some();
            let namespace = entry.namespace.clone();
            table.dynamic -= usize::from(was_dynamic);
            return namespace;
        }
        let namespace = make();
        let entry = NamespaceEntry { namespace: namespace.clone(), leases: None };
        table.named.insert(Arc::from(name), entry);
        namespace
    }

    /// The namespace with this name, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<N> {
        self.0.lock().named.get(name).map(|entry| entry.namespace.clone())
    }

    /// Adds a pattern of names for which clients may ask.
    pub(crate) fn add_pattern(&self, pattern: &str, set_up: Arc<SetUp<N>>) {
        let pattern = NamespacePattern { pattern: Arc::from(pattern), set_up };
        self.0.lock().patterns.push(pattern);
    }

    /// All namespaces.
    pub(crate) fn all(&self) -> Vec<N> {
        self.0.lock().named.values().map(|entry| entry.namespace.clone()).collect()
    }

    /// Finds a namespace for a client, or makes it if its name matches a pattern and there are
    /// fewer than `limit` of these. It is set up before any client uses it.
    pub(crate) fn lease(
        self: &Arc<Self>,
        name: &str,
        limit: usize,
        make: impl FnOnce() -> N,
    ) -> Option<NamespaceLease<N>> {
        let set_up = {
            let mut table = self.0.lock();
            if let Some(lease) = self.lease_existing(&mut table, name) {
                return Some(lease);
            }
            let found = table.patterns.iter().find(|it| matches(&it.pattern, name))?;
            if table.dynamic >= limit {
                return None;
            }
            Arc::clone(&found.set_up)
        };
        // Without the lock: it is code of the application.
        let namespace = make();
        set_up(&namespace);
        let mut table = self.0.lock();
        // Another client may have been faster.
        if let Some(lease) = self.lease_existing(&mut table, name) {
            drop(table);
            return Some(lease);
        }
        if table.dynamic >= limit {
            return None;
        }
        table.dynamic += 1;
        let name = Arc::from(name);
        let entry = NamespaceEntry { namespace: namespace.clone(), leases: Some(1) };
        table.named.insert(Arc::clone(&name), entry);
        Some(NamespaceLease { namespace, made: Some(Box::new(self.made(name))) })
    }

    fn made(self: &Arc<Self>, name: Arc<str>) -> MadeNamespace<N> {
        MadeNamespace { table: Arc::clone(self), name }
    }

    fn lease_existing(
        self: &Arc<Self>,
        table: &mut Namespaces<N>,
        name: &str,
    ) -> Option<NamespaceLease<N>> {
        let name = Arc::clone(table.named.get_key_value(name)?.0);
        let NamespaceEntry { namespace, leases } = table.named.get_mut(&name)?;
        let namespace = namespace.clone();
        let made = leases.as_mut().map(|leases| {
            *leases += 1;
            Box::new(self.made(name))
        });
        Some(NamespaceLease { namespace, made })
    }
}

impl<N> NamespaceLease<N> {
    /// The right to a namespace that stays for good.
    pub(crate) const fn of(namespace: N) -> Self {
        Self { namespace, made: None }
    }
}

impl<N> Drop for NamespaceLease<N> {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            drop(made.table.remove_lease(&made.name));
        }
    }
}

impl<N> NamespaceTable<N> {
    fn remove_lease(&self, name: &str) -> Option<N> {
        let mut table = self.0.lock();
        let leases = table.named.get_mut(name)?.leases.as_mut()?;
        *leases -= 1;
        if *leases > 0 {
            return None;
        }
        table.dynamic -= 1;
        // Dropped by the caller, without the lock.
        table.named.remove(name).map(|entry| entry.namespace)
    }
}

/// Whether a name matches a pattern, in which each `*` stands for any text that is not empty.
///
/// Each message of a hub with histories is compared with their patterns, and most names differ from a
/// pattern before its first `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut bytes = name.bytes();
    for expected in pattern.bytes() {
        if expected == b'*' {
            return matches_parts(pattern, name);
        }
        if bytes.next() != Some(expected) {
            return false;
        }
    }
    bytes.next().is_none()
}

fn matches_parts(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        // At least one character.
        let skipped = rest.chars().next().map_or(0, char::len_utf8);
        if skipped == 0 {
            return false;
        }
        let behind = rest.get(skipped..).unwrap_or_default();
        if parts.peek().is_none() {
            return behind.ends_with(part);
        }
        let Some(at) = behind.find(part) else { return false };
        rest = behind.get(at + part.len()..).unwrap_or_default();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_any_text_at_its_stars() {
        for (pattern, name, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/ab", "/a", false),
            ("/ü", "/ú", false),
            ("", "", true),
            ("", "/a", false),
            ("/a-*", "/a-1", true),
            ("/a-*", "/a-", false),
            ("/a-*", "/b-1", false),
            ("/*/x", "/abc/x", true),
            ("/*/x", "/x", false),
            ("/*/x", "//x", false),
            ("/*-*", "/a-b", true),
            ("/*-*", "/ab", false),
            ("/*-*-z", "/a-b-z", true),
            ("/*", "/ü", true),
            ("*", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
