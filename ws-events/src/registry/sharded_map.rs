//! How do many threads share one hash map with little contention?

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::sync::RwLock;

/// A hash map in shards, each behind its own lock. A key hashes as the string that it borrows.
pub(crate) struct ShardedMap<K, V> {
    hasher: RandomState,
    /// Their number is a power of two.
    shards: Box<[RwLock<HashMap<K, V>>]>,
}

impl<K: Hash + Eq, V> ShardedMap<K, V> {
    /// A map with at least `count` shards.
    pub(crate) fn new(count: usize) -> Self {
        let count = count.max(1).next_power_of_two();
        let shards = (0..count).map(|_| RwLock::new(HashMap::new())).collect();
        Self { hasher: RandomState::new(), shards }
    }

    /// Reads the shard of a key.
    pub(crate) fn read<T>(&self, key: &str, read: impl FnOnce(&HashMap<K, V>) -> T) -> Option<T> {
        Some(read(&self.shard(key)?.read()))
    }

    /// Changes the shard of a key.
    pub(crate) fn write<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut HashMap<K, V>) -> T,
    ) -> Option<T> {
        Some(change(&mut self.shard(key)?.write()))
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Maps every entry, shard by shard.
    pub(crate) fn collect<T>(&self, mut map: impl FnMut(&K, &V) -> T) -> Vec<T> {
        let mut mapped = Vec::new();
        for shard in &self.shards {
            mapped.extend(shard.read().iter().map(|(key, value)| map(key, value)));
        }
        mapped
    }

    /// Maps at most `most` entries: those of some shards, which are others each time.
    #[cfg(feature = "metrics")]
    pub(crate) fn sample<T>(&self, most: usize, mut map: impl FnMut(&K, &V) -> T) -> Vec<T> {
        let mut mapped = Vec::new();
        // A new hasher has new keys.
        let first = usize::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
        let order = self.shards.iter().cycle().skip(first % self.shards.len());
        for shard in order.take(self.shards.len()) {
            let left = most.saturating_sub(mapped.len());
            mapped.extend(shard.read().iter().take(left).map(|(key, value)| map(key, value)));
        }
        mapped
    }

    /// Always `Some`: the number of shards is a power of two.
    fn shard(&self, key: &str) -> Option<&RwLock<HashMap<K, V>>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        self.shards.get(hash & (self.shards.len() - 1))
    }
}
