//! A map of streams that stays quick while it grows.

use std::collections::{HashMap, hash_map};
use std::hash::{BuildHasherDefault, Hasher};

use everstream_core::id::StreamId;

/// A table is moved as a whole when it is full, which takes tens of milliseconds for a million
/// streams, under a lock that all appends need. So there are many, which are full one by one.
const TABLES: usize = 64;

type Table<V> = HashMap<StreamId, V, BuildHasherDefault<IdHasher>>;

/// Values by stream. They should be small, or boxed: growing moves them.
#[derive(Debug)]
pub(crate) struct IdMap<V>(Box<[Table<V>; TABLES]>);

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Table::default())))
    }
}

impl<V> IdMap<V> {
    pub(crate) fn get(&self, id: StreamId) -> Option<&V> {
        self.0[table(id)].get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        self.0[table(id)].get_mut(&id)
    }

    pub(crate) fn contains(&self, id: StreamId) -> bool {
        self.0[table(id)].contains_key(&id)
    }

    pub(crate) fn entry(&mut self, id: StreamId) -> hash_map::Entry<'_, StreamId, V> {
        self.0[table(id)].entry(id)
    }

    pub(crate) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        self.0[table(id)].insert(id, value)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<V> {
        self.0[table(id)].remove(&id)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &V)> {
        self.0.iter().flatten().map(|(id, value)| (*id, value))
    }

    /// All values, in no order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().flat_map(HashMap::values_mut)
    }
}

/// By bits of the hash that the tables themselves do not look at: they use the highest seven and
/// the lowest.
fn table(id: StreamId) -> usize {
    (spread(id.to_bits()) >> 32) as usize % TABLES
}

/// Ids are drawn at random by the gateways themselves, so nobody can choose them to collide; only
/// the bits that name the node have to be mixed with others.
fn spread(bits: u64) -> u64 {
    bits.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = spread(self.0.rotate_left(5) ^ bits);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_a_row_are_spread_over_all_tables() {
        let mut map = IdMap::default();
        for n in 0..64_000 {
            map.insert(StreamId::new(7, n), n);
        }
        let sizes = map.0.iter().map(HashMap::len);
        assert!(sizes.clone().all(|size| (500..2000).contains(&size)));
        assert_eq!(map.iter().count(), 64_000);
        for n in 0..64_000 {
            assert_eq!(map.get(StreamId::new(7, n)), Some(&n));
            assert_eq!(map.remove(StreamId::new(7, n)), Some(n));
        }
        assert_eq!(map.iter().count(), 0);
    }
}
