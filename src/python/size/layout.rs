//! Sizes that are computed from an object's C layout.
//!
//! The layouts of 3.11 to 3.14 differ in a few places. The constants below distinguish them by the sizes of PyO3's
//! structs, which follow the interpreter that this is compiled for. The Python tests compare all sizes with
//! `sys.getsizeof`.

use std::ffi::{c_ulong, c_void};
use std::mem::offset_of;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::python::host::detach::FREE_THREADED;

/// Size of a reference. Classes, modules, functions and singletons count as no more than that.
pub(super) const POINTER: usize = size_of::<*mut PyObject>();

/// Up to 3.11 a str had a `wstr`, and an int stored its sign as the sign of its length.
const BEFORE_3_12: bool = size_of::<ffi::PyASCIIObject>() > size_of::<PyObject>() + 3 * POINTER;

/// Size of the garbage collector's links, in front of each object it tracks. Without the GIL they are part of the
/// object.
pub(super) const GC_HEADER: usize = if FREE_THREADED { 0 } else { 2 * POINTER };

/// Type flags for two more words in front of an object, for its weak references (3.12 and up) and its `__dict__`.
pub(super) const PREHEADER_FLAGS: c_ulong = 1 << 3 | 1 << 4;

/// Position of the 3 bits of the kind in the state of a str. Before them is whether it is interned: 2 bits, or a byte
/// of its own without the GIL.
const STR_KIND_SHIFT: u32 = if FREE_THREADED { 8 } else { 2 };
/// Characters are in the same block as the header.
const STR_COMPACT: u32 = 1 << (STR_KIND_SHIFT + 3);
/// Only ASCII: the header is shorter, and no UTF-8 copy is needed.
const STR_ASCII: u32 = 1 << (STR_KIND_SHIFT + 4);

/// The start of an int, whose struct PyO3 keeps opaque.
#[repr(C)]
pub(in crate::python) struct IntObject {
    base: PyObject,
    /// 3.12 and up: the number of digits, above 3 bits of flags. Before: the number of digits, or minus that.
    tag: usize,
    /// 30 bits each, the lowest first.
    pub(in crate::python) digits: [u32; 1],
}

/// See [`quick_size`](super::quick_size).
///
/// # Safety
///
/// `object` is a live object, which the caller keeps alive.
#[inline]
pub(super) unsafe fn quick_size_of(object: *mut PyObject) -> Option<usize> {
    // SAFETY: the object is alive; what is read beyond its header belongs to the layout of the exact type just checked,
    // and does not change during its life. The addresses of the static types are only compared.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type {
            str_size(object)
        } else if kind == &raw mut ffi::PyLong_Type {
            let tag = (*object.cast::<IntObject>()).tag;
            let digits = if BEFORE_3_12 { tag.cast_signed().unsigned_abs() } else { tag >> 3 };
            let size = offset_of!(IntObject, digits) + digits.max(1) * size_of::<u32>();
            // From 3.12 on, an int of one digit is allocated with the padding of its struct.
            Some(if BEFORE_3_12 { size } else { size.max(size_of::<IntObject>()) })
        } else if kind == &raw mut ffi::PyBytes_Type {
            // A terminating zero follows.
            Some(offset_of!(ffi::PyBytesObject, ob_sval) + ffi::Py_SIZE(object) as usize + 1)
        } else if kind == &raw mut ffi::PyFloat_Type {
            Some(size_of::<ffi::PyFloatObject>())
        } else if kind == &raw mut ffi::PyBool_Type || is_singleton(object) {
            Some(POINTER)
        } else {
            None
        }
    }
}

/// The class written in C that a class inherits from. It may be the class itself.
pub(super) fn static_base(class: *mut PyTypeObject) -> *mut PyTypeObject {
    let mut base = class;
    // SAFETY: callers pass a live class, which keeps its bases alive; the last of them is static.
    unsafe {
        while ffi::PyType_HasFeature(base, ffi::Py_TPFLAGS_HEAPTYPE) != 0 {
            base = (*base).tp_base;
        }
    }
    base
}

/// Whether the size of instances of exactly this class is computed from their layout.
pub(super) fn has_quick_size(class: &Bound<'_, PyType>) -> bool {
    let class = class.as_type_ptr();
    [
        &raw mut ffi::PyUnicode_Type,
        &raw mut ffi::PyLong_Type,
        &raw mut ffi::PyBytes_Type,
        &raw mut ffi::PyFloat_Type,
        &raw mut ffi::PyBool_Type,
    ]
    .contains(&class)
}

/// Whether this is `None`, `Ellipsis` or `NotImplemented`.
#[inline]
fn is_singleton(object: *mut PyObject) -> bool {
    // SAFETY: these only take the addresses of statics.
    unsafe { object == ffi::Py_None() || object == ffi::Py_Ellipsis() || object == ffi::Py_NotImplemented() }
}

/// The size of an exact str. None for the rare forms of 3.11 that need `__sizeof__`.
///
/// # Safety
///
/// `object` is a live, exact `str`.
#[inline]
unsafe fn str_size(object: *mut PyObject) -> Option<usize> {
    // SAFETY: an exact str starts with `PyASCIIObject`; one that is compact but not ASCII, with
    // `PyCompactUnicodeObject`. Only `interned` (in the state) and the UTF-8 copy may change during its life: they are
    // read atomically, as they are written, and the copy's length is written before its address.
    unsafe {
        if cfg!(target_endian = "big") {
            return None; // the bits are in the opposite order
        }
        let text = object.cast::<ffi::PyASCIIObject>();
        let state = AtomicU32::from_ptr(&raw mut (*text).state).load(Ordering::Relaxed);
        let width = (state >> STR_KIND_SHIFT & 7) as usize;
        // `wstr`, on 3.11 the last field. It is the text itself when the characters are as wide as a `wchar_t`.
        let wide = BEFORE_3_12 && width < 4 && !text.add(1).cast::<*mut c_void>().sub(1).read().is_null();
        if state & STR_COMPACT == 0 || wide {
            return None;
        }
        let characters = ((*text).length as usize + 1) * width;
        if state & STR_ASCII != 0 {
            return Some(size_of::<ffi::PyASCIIObject>() + characters);
        }
        let text = object.cast::<ffi::PyCompactUnicodeObject>();
        let utf8 = AtomicPtr::from_ptr(&raw mut (*text).utf8).load(Ordering::Acquire);
        let copy = if utf8.is_null() { 0 } else { (*text).utf8_length as usize + 1 };
        Some(size_of::<ffi::PyCompactUnicodeObject>() + characters + copy)
    }
}
