//! A cache bounded by bytes: the entry unused for longest goes first.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Keeps values of known size up to a bound in all. A value larger than the bound is never kept.
#[derive(Debug)]
pub struct Cache<K, V> {
    bytes_max: usize,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    by_key: HashMap<K, Entry<V>>,
    bytes: usize,
    ticks: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// An empty cache for values of at most `bytes_max` bytes together.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, entries: Mutex::new(Entries { by_key: HashMap::new(), bytes: 0, ticks: 0 }) }
    }

    /// The value of the key, if kept.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut entries = self.entries.lock();
        entries.ticks += 1;
        let now = entries.ticks;
        let entry = entries.by_key.get_mut(key)?;
        entry.used = now;
        Some(entry.value.clone())
    }

    /// Keeps the value, dropping those unused for longest until it fits.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut entries = self.entries.lock();
        entries.ticks += 1;
        let used = entries.ticks;
        if let Some(old) = entries.by_key.insert(key, Entry { value, bytes, used }) {
            entries.bytes -= old.bytes;
        }
        entries.bytes += bytes;
        while entries.bytes > self.bytes_max {
            let oldest = entries.by_key.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone());
            let Some(removed) = oldest.and_then(|key| entries.by_key.remove(&key)) else { break };
            entries.bytes -= removed.bytes;
        }
    }

    /// Bytes of all values kept.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unused_for_longest_goes_first() {
        let cache = Cache::new(30);
        for key in 0..3 {
            cache.put(key, key, 10);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.put(3, 3, 10);
        assert_eq!((cache.get(&0), cache.get(&1), cache.get(&3)), (Some(0), None, Some(3)));
        assert_eq!(cache.bytes(), 30);
    }

    #[test]
    fn a_value_above_the_bound_is_not_kept_and_a_new_one_replaces_the_old() {
        let cache = Cache::new(30);
        cache.put("a", 1, 31);
        assert_eq!(cache.get(&"a"), None);
        cache.put("a", 1, 20);
        cache.put("a", 2, 30);
        assert_eq!((cache.get(&"a"), cache.bytes()), (Some(2), 30));
    }
}
