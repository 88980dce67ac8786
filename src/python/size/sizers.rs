//! Sizers that users have registered for classes whose memory Python cannot see.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::layout::has_quick_size;
use crate::python::arguments;
use crate::python::host::detach;

/// The classes with their sizers. There are few, so a list is sufficient.
static SIZERS: Mutex<Vec<(Py<PyType>, Py<PyAny>)>> = Mutex::new(Vec::new());
/// Number of sizers. While it is 0, no look-up is made.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Whether a sizer is registered for a class whose size is otherwise computed from its layout.
static IS_FOR_PLAIN: AtomicBool = AtomicBool::new(false);

/// Whether plain values need a look-up of their sizer.
#[inline]
pub(super) fn is_for_plain() -> bool {
    IS_FOR_PLAIN.load(Ordering::Relaxed)
}

/// The sizer of exactly this class.
pub(super) fn of(kind: &Bound<'_, PyType>) -> Option<Py<PyAny>> {
    if COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    let sizers = SIZERS.lock();
    sizers.iter().find(|(class, _)| class.is(kind)).map(|(_, sizer)| sizer.clone_ref(kind.py()))
}

/// The size that a sizer returns for an object.
pub(super) fn ask(sizer: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> PyResult<usize> {
    let answer = detach::call_out(object.py(), || sizer.call1((object,)))?;
    let name = format!("what the sizer registered for {} returns", object.get_type().name()?);
    Ok(arguments::whole(&name, 0, &answer)? as usize)
}

#[doc = doc!(register_sizer)]
#[pyfunction]
#[pyo3(signature = (cls, sizer, /))]
pub(in crate::python) fn register_sizer(cls: &Bound<'_, PyAny>, sizer: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Ok(class) = cls.cast::<PyType>() else {
        let kind = cls.get_type().name()?;
        return Err(PyTypeError::new_err(format!("cls must be a class, not {kind}")));
    };
    let sizer = arguments::callable("sizer", sizer)?;
    let mut sizers = SIZERS.lock();
    let place = sizers.iter().position(|(other, _)| other.is(class));
    let before = place.map(|place| sizers.swap_remove(place));
    if let Some(sizer) = sizer {
        sizers.push((class.clone().unbind(), sizer));
    }
    COUNT.store(sizers.len(), Ordering::Release);
    IS_FOR_PLAIN.store(sizers.iter().any(|(class, _)| has_quick_size(class.bind(cls.py()))), Ordering::Release);
    drop(sizers);
    drop(before);
    Ok(())
}
