//! Who has which id?

use crate::registry::sharded_map::Shards;
use crate::sync::{Arc, Mutex};

/// A name that is in use already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// Somebody else has the id.
    Taken,
    /// Its owner is listed no more.
    Gone,
}

/// Ids, and who has them. `O` is the owner.
///
/// An owner's lock is taken before a shard's, and never two shards' at once. While an
/// owner changes its id, it can be found under both.
pub(crate) struct Directory<O> {
    owners: Shards<Arc<str>, Arc<O>>,
}

/// The id of an owner, as it says itself.
pub(crate) struct Name(Mutex<Named>);

struct Named {
    id: Arc<str>,
    listed: Listed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    NotYet,
    Yes,
    NoMore,
}

impl Name {
    /// An id that is not in a directory yet.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self(Mutex::new(Named { id, listed: Listed::NotYet }))
    }

    /// The id as it is now.
    pub(crate) fn get(&self) -> Arc<str> {
        self.0.lock().id.clone()
    }
}

impl<O> Directory<O> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { owners: Shards::new(shards) }
    }

    /// Who has an id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<O>> {
        self.owners.read(id, |owners| owners.get(id).cloned())?
    }

    /// Puts somebody into the directory, by the id that it has.
    pub(crate) fn list(&self, owner: &Arc<O>, name: &Name) -> Result<(), Unnamed> {
        let mut named = name.0.lock();
        match named.listed {
            Listed::Yes => return Ok(()),
            Listed::NoMore => return Err(Unnamed::Gone),
            Listed::NotYet => {}
        }
        self.insert(Arc::clone(&named.id), owner)?;
        named.listed = Listed::Yes;
        Ok(())
    }

    /// Gives somebody another id. The one it has is no change, and no error.
    pub(crate) fn rename(&self, owner: &Arc<O>, name: &Name, id: Arc<str>) -> Result<(), Unnamed> {
        // Held all the while: two that rename the same owner come one after the other.
        let mut named = name.0.lock();
        match named.listed {
            _ if named.id == id => Ok(()),
            Listed::NoMore => Err(Unnamed::Gone),
            // It gets the id when it is listed, if nobody else has by then.
            Listed::NotYet if self.find(&id).is_some() => Err(Unnamed::Taken),
            Listed::NotYet => {
                named.id = id;
                Ok(())
            }
            Listed::Yes => {
                self.insert(Arc::clone(&id), owner)?;
                let old = std::mem::replace(&mut named.id, id);
                self.remove(&old);
                Ok(())
            }
        }
    }

    /// Takes somebody out, for good. Says whether it was there.
    pub(crate) fn unlist(&self, name: &Name) -> bool {
        let mut named = name.0.lock();
        let was = std::mem::replace(&mut named.listed, Listed::NoMore);
        if was == Listed::Yes {
            self.remove(&named.id);
        }
        was == Listed::Yes
    }

    fn insert(&self, id: Arc<str>, owner: &Arc<O>) -> Result<(), Unnamed> {
        let inserted = self.owners.write(&*Arc::clone(&id), |owners| {
            if owners.contains_key(&id) {
                return false;
            }
            owners.insert(id, Arc::clone(owner));
            true
        });
        if inserted == Some(true) { Ok(()) } else { Err(Unnamed::Taken) }
    }

    fn remove(&self, id: &str) {
        self.owners.write(id, |owners| owners.remove(id));
    }
}
