use hashbrown::HashTable;

/// Values by names whose hashes the caller knows, so that a name is hashed once for all that is done
/// with it.
#[derive(Debug)]
pub(super) struct Table<T>(HashTable<Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    name: Box<str>,
    value: T,
}

/// A name, and its hash, which is always by the same hasher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'a> {
    pub(super) hash: u64,
    pub(super) name: &'a str,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<T> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, of: Hashed<'_>) -> Option<&T> {
        let entry = self.0.find(of.hash, |entry| *entry.name == *of.name);
        entry.map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, of: Hashed<'_>) -> Option<&mut T> {
        let entry = self.0.find_mut(of.hash, |entry| *entry.name == *of.name);
        entry.map(|entry| &mut entry.value)
    }

    /// Sets a value, and says which it was before.
    pub(super) fn set(&mut self, of: Hashed<'_>, value: T) -> Option<T> {
        if let Some(known) = self.get_mut(of) {
            return Some(std::mem::replace(known, value));
        }
        let entry = Entry {
            hash: of.hash,
            name: of.name.into(),
            value,
        };
        self.0.insert_unique(of.hash, entry, |entry| entry.hash);
        None
    }

    pub(super) fn remove(&mut self, of: Hashed<'_>) -> Option<T> {
        let entry = self
            .0
            .find_entry(of.hash, |entry| *entry.name == *of.name)
            .ok()?;
        Some(entry.remove().0.value)
    }

    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        self.0.retain(|entry| is_kept(&entry.value));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|entry| &entry.value)
    }
}
