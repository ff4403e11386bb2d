//! How is one map shared by many threads that seldom want the same of it?

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::sync::RwLock;

/// A map in as many pieces as there may be threads, each behind its own lock.
pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    /// A power of two of them.
    shards: Box<[RwLock<HashMap<K, V>>]>,
}

impl<K: Hash + Eq, V> Shards<K, V> {
    /// At least so many pieces.
    pub(crate) fn new(count: usize) -> Self {
        let count = count.max(1).next_power_of_two();
        let shards = (0..count).map(|_| RwLock::new(HashMap::new())).collect();
        Self { hasher: RandomState::new(), shards }
    }

    /// Looks at the piece that a key belongs to.
    pub(crate) fn read<Q, T>(&self, key: &Q, look: impl FnOnce(&HashMap<K, V>) -> T) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        Some(look(&self.shard(key)?.read()))
    }

    /// Changes the piece that a key belongs to.
    pub(crate) fn write<Q, T>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut HashMap<K, V>) -> T,
    ) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        Some(change(&mut self.shard(key)?.write()))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// What `pick` makes of every entry, one piece after the other.
    pub(crate) fn collect<T>(&self, mut pick: impl FnMut(&K, &V) -> T) -> Vec<T> {
        let mut picked = Vec::new();
        for shard in &self.shards {
            picked.extend(shard.read().iter().map(|(key, value)| pick(key, value)));
        }
        picked
    }

    /// There is always one: their number is a power of two.
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&RwLock<HashMap<K, V>>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        self.shards.get(hash & (self.shards.len() - 1))
    }
}
