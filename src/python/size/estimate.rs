//! Walks a payload: everything that it reaches, each object once.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyType};

use super::addresses::Addresses;
use super::layout::{GC_HEADER, IntObject, POINTER, quick_size_of, static_base};
use super::sizers;
use crate::python::host::detach::FREE_THREADED;

/// Whether this is a class, a module or a function: part of the program, not of the payload.
fn is_code(object: &Bound<'_, PyAny>) -> bool {
    let object = object.as_ptr();
    // SAFETY: a live object, whose type is read.
    unsafe {
        ffi::PyType_Check(object) != 0
            || ffi::PyModule_Check(object) != 0
            || ffi::PyCFunction_Check(object) != 0
            || ffi::PyCode_Check(object) != 0
            || ffi::Py_TYPE(object) == &raw mut ffi::PyFunction_Type
            || ffi::Py_TYPE(object) == &raw mut ffi::PyMethodDescr_Type
    }
}

/// Maximum number of free places among the attributes of an instance, plus their header.
const SPARE_PLACES: usize = 8;

/// Objects that are looked up in the interpreter once.
pub(super) struct Known {
    /// The class of all enum classes. Their members are part of the program, and count as a pointer.
    enum_type: Py<PyType>,
    /// A class that is written in Python, inherits from no other, and has a `__dict__`.
    plain: Py<PyType>,
    /// Containers that are written in C but are not part of the C API. They are read as the garbage collector reads
    /// them.
    containers: [Py<PyType>; 2],
    /// The class of bound methods.
    pub(super) method: Py<PyType>,
    /// `dict.__sizeof__`, the C function: the layout of a dict's table is private.
    dict_sizeof: ffi::PyCFunction,
}

impl Known {
    fn get(py: Python<'_>) -> PyResult<&Known> {
        static KNOWN: PyOnceLock<Known> = PyOnceLock::new();
        KNOWN.get_or_try_init(py, || {
            let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
                Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
            };
            let method = PyDict::new(py).getattr("__sizeof__")?;
            // SAFETY: both check that it is a builtin method, and set an error if it is not.
            let (function, flags) =
                unsafe { (ffi::PyCFunction_GetFunction(method.as_ptr()), ffi::PyCFunction_GetFlags(method.as_ptr())) };
            match function {
                Some(dict_sizeof) if flags == ffi::METH_NOARGS => Ok(Known {
                    enum_type: class("enum", "EnumMeta")?,
                    plain: class("enum", "auto")?,
                    containers: [class("collections", "deque")?, class("functools", "partial")?],
                    method: class("types", "MethodType")?,
                    dict_sizeof,
                }),
                _ => Err(PyErr::take(py).unwrap_or_else(|| PyTypeError::new_err("dict.__sizeof__ is not as in C"))),
            }
        })
    }
}

/// One estimate in progress.
pub(super) struct Estimate<'py> {
    /// The types that are not part of the C API.
    pub(super) known: &'py Known,
    /// Bytes counted so far; saturates.
    total: usize,
    /// Number of references that the interpreter has shown so far.
    references: usize,
    /// Addresses of objects that have been counted and might be visited again.
    pub(super) seen: Addresses,
    /// Objects that were found and still have to be walked.
    pub(super) found: Vec<Bound<'py, PyAny>>,
    /// What the object that is traversed now shows, and what belongs to the program.
    pub(super) passed_over: *mut PyObject,
    /// Objects that were walked and still have to be asked for their own size.
    to_ask: Vec<Bound<'py, PyAny>>,
    /// The type of the object that claims more bytes than any memory has, and how many it claims.
    pub(super) absurd: Option<(Bound<'py, PyType>, usize)>,
}

impl<'py> Estimate<'py> {
    // Not inlined, so that a plain payload does not pay for the stack space that this takes.
    #[inline(never)]
    pub(super) fn of(payload: &Bound<'py, PyAny>) -> PyResult<usize> {
        Self::made(payload).map(|this| this.total.min(isize::MAX as usize))
    }

    /// Describes the object in a payload that claims more bytes than any memory has.
    #[cold]
    pub(super) fn absurd_in(payload: &Bound<'py, PyAny>) -> Option<String> {
        let (kind, size) = Self::made(payload).ok()?.absurd?;
        let name = kind.name().ok()?;
        Some(format!("{name}.__sizeof__() says {size} bytes, which cannot be: mend it, or register_sizer({name}, ...)"))
    }

    fn made(payload: &Bound<'py, PyAny>) -> PyResult<Self> {
        let known = Known::get(payload.py())?;
        let mut this = Estimate {
            known,
            total: 0,
            references: 0,
            seen: Addresses::new(),
            found: Vec::new(),
            passed_over: ptr::null_mut(),
            to_ask: Vec::new(),
            absurd: None,
        };
        this.seen.insert(payload.as_ptr().addr());
        this.walk(payload.clone())?;
        loop {
            if let Some(object) = this.found.pop() {
                this.walk(object)?;
            } else if let Some(object) = this.to_ask.pop() {
                this.ask(&object)?;
            } else {
                return Ok(this);
            }
        }
    }

    pub(super) fn add(&mut self, size: usize) {
        self.total = self.total.saturating_add(size);
    }

    /// Counts a plain value at once, and keeps anything else for later, unless it has been visited before.
    ///
    /// An object with a single reference is not remembered. That reference is the one through which it is visited now,
    /// so it cannot be visited again. (If other threads change it, it might be counted twice: that errs upwards.)
    ///
    /// # Safety
    ///
    /// `object` is null or a live object, which the caller keeps alive during the call.
    #[inline]
    pub(super) unsafe fn visit(&mut self, py: Python<'py>, object: *mut PyObject) {
        // SAFETY: the caller's promise.
        unsafe {
            if object.is_null() || (ffi::Py_REFCNT(object) != 1 && !self.seen.insert(object.addr())) {
                return;
            }
            match quick_size_of(object) {
                Some(size) if !sizers::is_for_plain() => self.add(size),
                _ => self.found.push(Bound::from_borrowed_ptr(py, object)),
            }
        }
    }

    /// Visits what `object` holds. Counts the object itself if its type is known here; otherwise it has to be asked.
    fn walk(&mut self, object: Bound<'py, PyAny>) -> PyResult<()> {
        let kind = object.get_type();
        if sizers::of(&kind).is_some() {
            self.to_ask.push(object);
            return Ok(());
        }
        // SAFETY: a live object.
        if let Some(size) = unsafe { quick_size_of(object.as_ptr()) } {
            self.add(size);
        } else if self.is_enum(&kind) {
            self.add(POINTER);
        } else if let Some(size) = self.walk_items(&object)? {
            self.add(size);
        } else if self.walk_function(&object) || is_code(&object) {
            self.add(POINTER);
        } else {
            if !self.walk_shown(&object, &kind)
                && !self.walk_native(&object, &kind)?
                && !self.walk_plain_instance(&object, &kind)
            {
                self.walk_slots(&object, &kind);
                self.walk_dict(&object, &kind)?;
            }
            self.to_ask.push(object);
        }
        Ok(())
    }

    /// Whether the instances of this class are the members of an enum.
    fn is_enum(&self, kind: &Bound<'py, PyType>) -> bool {
        // SAFETY: a live class, its class, and another class.
        unsafe {
            let meta = ffi::Py_TYPE(kind.as_ptr());
            meta != &raw mut ffi::PyType_Type && ffi::PyType_IsSubtype(meta, self.known.enum_type.as_ptr().cast()) != 0
        }
    }

    /// Visits the items of a list, tuple, dict or set, even if a subclass overrides `__iter__`. Returns the container's
    /// own size if it is not an instance of a subclass.
    fn walk_items(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Option<usize>> {
        let py = object.py();
        let container = object.as_ptr();
        // SAFETY: each layout is read after the check for its type. Inside the critical section, or with the GIL, no
        // one else changes the container, and `visit` runs no Python code: so indices stay valid and items alive.
        unsafe {
            let kind = ffi::Py_TYPE(container);
            if ffi::PyDict_Check(container) != 0 {
                with_critical_section(object, || {
                    let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
                    while ffi::PyDict_Next(container, &mut position, &mut key, &mut value) != 0 {
                        self.visit(py, key);
                        self.visit(py, value);
                    }
                });
                if kind == &raw mut ffi::PyDict_Type {
                    let size = Bound::from_owned_ptr_or_err(py, (self.known.dict_sizeof)(container, ptr::null_mut()))?;
                    return Ok(Some(GC_HEADER + size.extract::<usize>()?));
                }
            } else if ffi::PyList_Check(container) != 0 {
                let allocated = with_critical_section(object, || {
                    for index in 0..ffi::PyList_GET_SIZE(container) {
                        self.visit(py, ffi::PyList_GET_ITEM(container, index));
                    }
                    (*container.cast::<ffi::PyListObject>()).allocated as usize
                });
                if kind == &raw mut ffi::PyList_Type {
                    // Without the GIL the items are stored after their number.
                    let places = allocated + usize::from(FREE_THREADED && allocated > 0);
                    return Ok(Some(GC_HEADER + size_of::<ffi::PyListObject>() + places * POINTER));
                }
            } else if ffi::PyTuple_Check(container) != 0 {
                let length = ffi::PyTuple_GET_SIZE(container);
                for index in 0..length {
                    self.visit(py, ffi::PyTuple_GET_ITEM(container, index));
                }
                if kind == &raw mut ffi::PyTuple_Type {
                    return Ok(Some(GC_HEADER + offset_of!(ffi::PyTupleObject, ob_item) + length as usize * POINTER));
                }
                self.add(POINTER); // instances of subclasses have one more place
            } else if ffi::PyAnySet_Check(container) != 0 {
                let set = container.cast::<ffi::PySetObject>();
                self.traverse(object, &raw mut ffi::PySet_Type);
                if ffi::PyAnySet_CheckExact(container) != 0 {
                    let table = with_critical_section(object, || {
                        // A small table is part of the object.
                        let entries =
                            if (*set).table == (&raw mut (*set).smalltable).cast() { 0 } else { (*set).mask + 1 };
                        entries as usize * size_of::<ffi::setentry>()
                    });
                    return Ok(Some(GC_HEADER + size_of::<ffi::PySetObject>() + table));
                }
            }
        }
        Ok(None)
    }

    /// Visits what other objects written in C hold: deques, partials, ranges, exceptions. Returns whether there is
    /// nothing more to visit.
    fn walk_native(&mut self, object: &Bound<'py, PyAny>, kind: &Bound<'py, PyType>) -> PyResult<bool> {
        let kind = kind.as_type_ptr();
        let known = self.known;
        // SAFETY: `kind` is a live type and keeps its bases alive; every exception has a static base.
        unsafe {
            if kind == &raw mut ffi::PyRange_Type {
                // The whole program shares small ints.
                for number in ["start", "stop", "step"].map(|name| object.getattr(name)) {
                    let number = number?;
                    if !(0..=256).contains(&number.extract::<i64>().unwrap_or(-1)) {
                        self.visit_bound(&number);
                    }
                }
                if object.len().unwrap_or(usize::MAX) > 256 {
                    self.add(size_of::<IntObject>());
                }
                return Ok(true);
            } else if ffi::PyExceptionInstance_Check(object.as_ptr()) != 0 {
                self.traverse(object, static_base(kind));
            } else if let Some(base) =
                known.containers.iter().find(|base| ffi::PyType_IsSubtype(kind, base.as_ptr().cast()) != 0)
            {
                self.traverse(object, base.as_ptr().cast());
            }
        }
        Ok(false)
    }

    /// Visits what the C type `base`, which is the type of `object` or a base of it, shows to the garbage collector.
    ///
    /// # Safety
    ///
    /// `object` is an instance of `base`, and `base` guards its instances by their critical section.
    pub(super) unsafe fn traverse(&mut self, object: &Bound<'py, PyAny>, base: *mut PyTypeObject) {
        unsafe extern "C" fn visit(object: *mut PyObject, estimate: *mut c_void) -> c_int {
            // SAFETY: the argument is the estimate passed below, which nobody else uses in the meantime. It does not
            // outlive the attachment to the interpreter, and `object` is held by the object being traversed.
            unsafe {
                let estimate = estimate.cast::<Estimate<'_>>();
                (*estimate).references += 1;
                if object != (*estimate).passed_over {
                    (*estimate).visit(Python::assume_attached(), object);
                }
            }
            0
        }
        // SAFETY: a traverse function only visits what the object holds, which the critical section keeps in place.
        unsafe {
            if let Some(traverse) = (*base).tp_traverse {
                with_critical_section(object, || traverse(object.as_ptr(), visit, ptr::from_mut(self).cast()));
            }
        }
    }

    /// Visits the attributes of an instance whose class is written in Python and inherits from no other class, and
    /// counts the memory that they are stored in. The interpreter visits them for its collector, so no `__dict__` is
    /// created for them. Returns whether it is such an instance.
    fn walk_plain_instance(&mut self, object: &Bound<'py, PyAny>, kind: &Bound<'py, PyType>) -> bool {
        let class = kind.as_type_ptr();
        // SAFETY: live types, which keep their bases alive.
        unsafe {
            let is_plain = static_base(class) == &raw mut ffi::PyBaseObject_Type
                && (*class).tp_dictoffset < 0
                && self.is_written_in_python(class);
            if is_plain {
                let before = self.references;
                self.traverse(object, class);
                // One of the references is the one to the class. A few places may be free.
                self.add((self.references - before + SPARE_PLACES) * POINTER);
            }
            is_plain
        }
    }

    /// Whether a class was created by a `class` statement. The collector visits the instances of all such classes in
    /// one way.
    pub(super) fn is_written_in_python(&self, class: *mut PyTypeObject) -> bool {
        // SAFETY: callers pass a live class; the other one lives as long as the interpreter.
        let (own, of) =
            unsafe { ((*class).tp_traverse, (*self.known.plain.as_ptr().cast::<PyTypeObject>()).tp_traverse) };
        own.is_some_and(|own| of.is_some_and(|of| ptr::fn_addr_eq(own, of)))
    }

    /// Visits the `__slots__` of a class and of its bases.
    ///
    /// Slots are part of an object's layout, so all classes with slots are in the one line of `tp_base`.
    fn walk_slots(&mut self, object: &Bound<'py, PyAny>, kind: &Bound<'py, PyType>) {
        let py = object.py();
        let mut class = kind.as_type_ptr();
        // SAFETY: `kind` is a live type, keeps its bases alive and describes the layout of `object`. The last of the
        // members has no name. Slots are written inside the critical section of their object.
        unsafe {
            while !class.is_null() && ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HEAPTYPE) != 0 {
                let mut member = (*class).tp_members;
                while !member.is_null() && !(*member).name.is_null() {
                    if (*member).type_code == ffi::Py_T_OBJECT_EX {
                        let slot = object.as_ptr().byte_offset((*member).offset).cast::<*mut PyObject>();
                        with_critical_section(object, || self.visit(py, *slot));
                    }
                    member = member.add(1);
                }
                class = (*class).tp_base;
            }
        }
    }

    /// Visits an instance's `__dict__`, bypassing properties and `__getattribute__`.
    fn walk_dict(&mut self, object: &Bound<'py, PyAny>, kind: &Bound<'py, PyType>) -> PyResult<()> {
        let py = object.py();
        // SAFETY: `kind` is a live type and describes the layout of `object`: a positive offset is that of a reference,
        // which is null until the first attribute is set. In other cases the interpreter knows where the attributes
        // are.
        unsafe {
            let offset = (*kind.as_type_ptr()).tp_dictoffset;
            if offset > 0 {
                let attributes = object.as_ptr().byte_offset(offset).cast::<*mut PyObject>();
                with_critical_section(object, || self.visit(py, *attributes));
            } else if offset < 0 {
                let attributes = ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut());
                self.visit(py, Bound::from_owned_ptr_or_err(py, attributes)?.as_ptr());
            }
        }
        Ok(())
    }
}
