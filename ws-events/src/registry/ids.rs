//! Which socket has which id?

use crate::registry::sharded_map::ShardedMap;
use crate::sync::{Arc, Mutex};

/// Why an id was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegisterError {
    /// Another owner has the id.
    Taken,
    /// The owner was unregistered.
    Released,
}

/// Owners by id. `O` is the owner.
///
/// Lock order: the owner's own lock, then one shard; never two shards at once. While an owner
/// changes its id, both ids find it.
pub(crate) struct IdRegistry<O> {
    owners: ShardedMap<Arc<str>, Arc<O>>,
}

/// The id of one owner, and whether it is registered.
pub(crate) struct OwnId(Mutex<IdEntry>);

struct IdEntry {
    id: Arc<str>,
    registration: Registration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    Pending,
    Registered,
    Released,
}

impl OwnId {
    /// An id that is not registered yet.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self(Mutex::new(IdEntry { id, registration: Registration::Pending }))
    }

    /// The current id.
    pub(crate) fn get(&self) -> Arc<str> {
        self.0.lock().id.clone()
    }
}

impl<O> IdRegistry<O> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { owners: ShardedMap::new(shards) }
    }

    /// The owner of an id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<O>> {
        self.owners.read(id, |owners| owners.get(id).cloned())?
    }

    /// Registers an owner under its current id.
    pub(crate) fn register(&self, owner: &Arc<O>, own: &OwnId) -> Result<(), RegisterError> {
        let mut entry = own.0.lock();
        match entry.registration {
            Registration::Registered => return Ok(()),
            Registration::Released => return Err(RegisterError::Released),
            Registration::Pending => {}
        }
        self.insert(Arc::clone(&entry.id), owner)?;
        entry.registration = Registration::Registered;
        Ok(())
    }

    /// Changes the id of an owner. Its current id is no change and no error.
    pub(crate) fn rename(
        &self,
        owner: &Arc<O>,
        own: &OwnId,
        id: Arc<str>,
    ) -> Result<(), RegisterError> {
        // Held throughout: two renames of one owner run one after the other.
        self.rename_locked(owner, &mut own.0.lock(), id)
    }

    /// As [`rename`](Self::rename), unless its current id is another one than `from`: that is no error.
    pub(crate) fn rename_from(
        &self,
        owner: &Arc<O>,
        own: &OwnId,
        from: &str,
        id: Arc<str>,
    ) -> Result<(), RegisterError> {
        let mut entry = own.0.lock();
        if *entry.id == *from { self.rename_locked(owner, &mut entry, id) } else { Ok(()) }
    }

    fn rename_locked(
        &self,
        owner: &Arc<O>,
        entry: &mut IdEntry,
        id: Arc<str>,
    ) -> Result<(), RegisterError> {
        match entry.registration {
            _ if entry.id == id => Ok(()),
            Registration::Released => Err(RegisterError::Released),
            // `register` claims the id, and fails if another owner has it by then.
            Registration::Pending if self.find(&id).is_some() => Err(RegisterError::Taken),
            Registration::Pending => {
                entry.id = id;
                Ok(())
            }
            Registration::Registered => {
                self.insert(Arc::clone(&id), owner)?;
                let old = std::mem::replace(&mut entry.id, id);
                self.remove(&old);
                Ok(())
            }
        }
    }

    /// Removes an owner for good. Returns whether it was registered.
    pub(crate) fn unregister(&self, own: &OwnId) -> bool {
        let mut entry = own.0.lock();
        let before = std::mem::replace(&mut entry.registration, Registration::Released);
        if before == Registration::Registered {
            self.remove(&entry.id);
        }
        before == Registration::Registered
    }

    fn insert(&self, id: Arc<str>, owner: &Arc<O>) -> Result<(), RegisterError> {
        let inserted = self.owners.write(&Arc::clone(&id), |owners| {
            if owners.contains_key(&id) {
                return false;
            }
            owners.insert(id, Arc::clone(owner));
            true
        });
        if inserted == Some(true) { Ok(()) } else { Err(RegisterError::Taken) }
    }

    fn remove(&self, id: &str) {
        self.owners.write(id, |owners| owners.remove(id));
    }
}
