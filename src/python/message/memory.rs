//! Message objects are created and freed by hand, as an extension in C would. A third of the cost of a read is saved.

use std::cell::RefCell;
use std::hint::cold_path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Draft, Message, Source};
use crate::python::engine::Engine;
use crate::python::host::detach::FREE_THREADED;
use crate::{Clock, ManualClock, Now, Options};

impl Draft {
    /// Makes the message object.
    #[inline]
    pub(in crate::python) fn finish<'py>(self, py: Python<'py>, source: &Py<Source>) -> PyResult<Bound<'py, Message>> {
        allocate(py, Message { source: source.clone_ref(py), draft: self, is_settled: AtomicBool::new(false) })
    }
}

/// Frees a message the way an extension in C does. This is a large part of what a message costs. PyO3 would count the
/// thread's attachment for it, and check that count for each reference it drops.
///
/// # Safety
///
/// What CPython promises a `tp_dealloc`: the thread is attached, and nobody else has a reference to `slf`, a message.
unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: the caller's promise. Every field that is to be dropped is read out once, and then the memory is freed.
    // The address of weak references is where the class says that it is. The object's class is kept alive by the
    // object.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        let class = ffi::Py_TYPE(slf);
        if !slf.byte_offset((*class).tp_weaklistoffset).cast::<*mut ffi::PyObject>().read().is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        let this = Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Message>();
        let Message { source, draft, is_settled: _ } = this.get();
        let payload = draft.payload.as_ptr();
        ffi::Py_DECREF(source.as_ptr());
        if draft.extra.is_some() {
            cold_path();
            drop(ptr::read(&draft.extra));
        }
        ffi::PyObject_GC_Del(slf.cast());
        if ffi::Py_TYPE(payload) == class {
            let_go(payload);
        } else {
            ffi::Py_DECREF(payload);
        }
        // Without the GIL, CPython counts the instances of a class in each thread. But an extension can only use the
        // count that all threads share, and two readers would contend for it. The class lives as long as the process
        // anyway.
        if !FREE_THREADED {
            ffi::Py_DECREF(class.cast());
        }
    }
}

/// Releases a message that another one carried. They may form a long chain. So they are freed one after the other
/// instead of recursively, which would use stack space for each.
///
/// # Safety
///
/// The thread is attached, and the caller owns the reference.
#[cold]
unsafe fn let_go(message: *mut ffi::PyObject) {
    thread_local! {
        /// Messages that the call that frees the first one still has to free; None: there is no such call.
        static CHAIN: RefCell<Option<Vec<*mut ffi::PyObject>>> = const { RefCell::new(None) };
    }
    let is_left_to_others = CHAIN.try_with(|chain| match &mut *chain.borrow_mut() {
        Some(others) => {
            others.push(message);
            true
        }
        nobody => {
            *nobody = Some(Vec::new());
            false
        }
    });
    // SAFETY: the caller's promise, which also holds for the references in the list. Nothing is borrowed while
    // something is freed.
    unsafe {
        if is_left_to_others == Ok(true) {
            return;
        }
        ffi::Py_DECREF(message);
        let next = || CHAIN.try_with(|chain| chain.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
        while let Some(message) = next() {
            ffi::Py_DECREF(message);
        }
    }
    let _ = CHAIN.try_with(|chain| chain.borrow_mut().take());
}

/// The class of messages, if the fields follow the header in the memory of its objects; null: this is not known.
///
/// This is the class itself, not a reference of ours to it, because two readers would contend for its count.
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Creates a message object the way an extension in C does. PyO3 would call `object.__new__` with an empty tuple, which
/// is a third of the cost of a message.
#[inline]
fn allocate(py: Python<'_>, message: Message) -> PyResult<Bound<'_, Message>> {
    let class = CLASS.load(Ordering::Relaxed);
    if class.is_null() {
        cold_path();
        return Bound::new(py, message);
    }
    // SAFETY: the class allocates its instances zeroed, with their header in place. Everything else that PyO3 keeps in
    // an instance is all zeros at first, and the fields follow the header: `install` has checked both. The fields are
    // written once, before anybody else sees them: an allocation may run the garbage collector, but only starts to track
    // the object at its end, and no code that is ours runs after it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        object.as_ptr().add(1).cast::<Message>().write(message);
        Ok(object.cast_into_unchecked())
    }
}

/// Called once, when the module is first imported.
pub(in crate::python) fn install(py: Python<'_>) -> PyResult<()> {
    // On a manual clock, because an import measures nothing and starts nothing.
    let clock = Clock::Manual(ManualClock::at(Now::default()));
    let queue = Engine::new(&Options { clock, ..Options::default() });
    let source = Py::new(py, Source::new(PyString::new(py, "sample"), &queue))?;
    let draft = Draft { payload: py.None(), seq: 0, size: 0, created: 0, missed: 0, deliveries: 0, extra: None };
    let sample = Bound::new(py, Message { source, draft, is_settled: AtomicBool::new(false) })?;
    let fields = ptr::from_ref(sample.get()).addr() - sample.as_ptr().addr();
    let class = py.get_type::<Message>().as_type_ptr();
    // SAFETY: an object has as many bytes as its class says. The class was created just now: no other thread has it
    // yet.
    unsafe {
        let end = fields + size_of::<Message>();
        let rest = std::slice::from_raw_parts(
            sample.as_ptr().byte_add(end).cast::<u8>(),
            (*class).tp_basicsize as usize - end,
        );
        if fields == size_of::<ffi::PyObject>() && rest.iter().all(|&byte| byte == 0) {
            CLASS.store(class, Ordering::Relaxed);
        }
        (*class).tp_dealloc = Some(dealloc);
    }
    Ok(())
}
