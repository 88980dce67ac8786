//! Python objects for the consumers and groups of the engine: found while they exist, or created anew.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;
use pyo3::PyClass;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

/// The objects of one class that belong to a queue, by key.
pub(super) struct Registry<K> {
    entries: Mutex<HashMap<K, Entry>>,
}

/// The data of a consumer or group, whether or not its Python object exists.
struct Entry {
    /// A weak reference to the object.
    object: Option<Py<PyWeakrefReference>>,
    /// An object that is kept for it.
    kept: Option<Py<PyAny>>,
}

impl<K> Default for Registry<K> {
    fn default() -> Self {
        Registry { entries: Mutex::default() }
    }
}

impl<K: Eq + Hash> Registry<K> {
    /// Adds an entry, with the object that is kept for it.
    pub(super) fn enter(&self, key: K, kept: Option<Py<PyAny>>) {
        let before = self.entries.lock().insert(key, Entry { object: None, kept });
        drop(before);
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.lock().remove(key);
        drop(entry);
    }

    /// The object that is kept for an entry.
    pub(super) fn kept<Q: Eq + Hash + ?Sized>(&self, py: Python<'_>, key: &Q) -> Option<Py<PyAny>>
    where
        K: Borrow<Q>,
    {
        self.entries.lock().get(key)?.kept.as_ref().map(|kept| kept.clone_ref(py))
    }

    /// The Python object of an entry: the existing one, or a new one. The lock is not held while objects are created,
    /// found or dropped.
    pub(super) fn object<'py, Q: Eq + Hash + ?Sized, T>(
        &self,
        py: Python<'py>,
        key: &Q,
        make: impl FnOnce() -> T,
    ) -> PyResult<Bound<'py, T>>
    where
        K: Borrow<Q>,
        T: PyClass<Frozen = True> + Into<PyClassInitializer<T>>,
    {
        let weak = |entries: &HashMap<K, Entry>| Some(entries.get(key)?.object.as_ref()?.clone_ref(py).into_bound(py));
        let alive = |weak: &Option<Bound<'py, PyWeakrefReference>>| weak.as_ref()?.upgrade()?.cast_into::<T>().ok();
        let mut seen = weak(&self.entries.lock());
        if let Some(object) = alive(&seen) {
            return Ok(object);
        }
        let object = Bound::new(py, make())?;
        let own = PyWeakrefReference::new(object.as_any())?;
        loop {
            let mut entries = self.entries.lock();
            let now = weak(&entries);
            let is_unchanged = match (&now, &seen) {
                (Some(now), Some(seen)) => now.is(seen),
                (None, None) => true,
                _ => false,
            };
            if is_unchanged {
                let before = entries.get_mut(key).and_then(|entry| entry.object.replace(own.unbind()));
                drop(entries);
                drop(before);
                return Ok(object);
            }
            drop(entries);
            // Another thread has created one in the meantime.
            if let Some(other) = alive(&now) {
                return Ok(other);
            }
            seen = now;
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.entries.lock().values().try_for_each(|entry| visit.call(&entry.kept))
    }

    pub(super) fn clear(&self) {
        let entries = std::mem::take(&mut *self.entries.lock());
        drop(entries);
    }
}
