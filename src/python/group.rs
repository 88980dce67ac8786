//! `ConsumerGroup`.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::aio::call::Call;
use super::aio::mailbox::waking;
use super::arguments::{self, Ephemeral};
use super::objects::{self, Consumer, ConsumerGroup, Queue};
use super::stats::GroupStats;
use super::{errors, message};

impl ConsumerGroup {
    fn figures(&self, py: Python<'_>) -> PyResult<crate::GroupStats> {
        self.group.stats().map_err(|error| errors::raise(py, error, &self.queue.get().name))
    }
}

#[pymethods]
impl ConsumerGroup {
    #[doc = doc!(ConsumerGroup.name)]
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    #[doc = doc!(ConsumerGroup.queue)]
    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<Queue> {
        self.queue.clone_ref(py)
    }

    #[doc = doc!(ConsumerGroup.members)]
    #[getter]
    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let queue = self.queue.bind(py);
        let members = self.group.members().into_iter().map(|member| objects::consumer(queue, member));
        PyTuple::new(py, members.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = doc!(ConsumerGroup.pending_count)]
    #[getter]
    fn pending_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.pending)
    }

    #[doc = doc!(ConsumerGroup.unread_count)]
    #[getter]
    fn unread_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.unread)
    }

    #[doc = doc!(ConsumerGroup.missed_count)]
    #[getter]
    fn missed_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.missed)
    }

    #[doc = doc!(ConsumerGroup.add_consumer)]
    #[pyo3(signature = (name = None, *, ephemeral = Ephemeral(false)),
           text_signature = "($self, name=None, *, ephemeral=False)")]
    fn add_consumer<'py>(
        &self,
        py: Python<'py>,
        name: Option<&Bound<'py, PyAny>>,
        ephemeral: Ephemeral,
    ) -> PyResult<Bound<'py, Consumer>> {
        let name = name.map(|name| arguments::text("name", name)).transpose()?;
        let member = self.group.add_consumer(name).map_err(|error| errors::raise(py, error, &self.queue.get().name))?;
        objects::new_consumer(self.queue.bind(py), member, None, ephemeral.0)
    }

    #[doc = doc!(ConsumerGroup.stats)]
    fn stats(&self, py: Python<'_>) -> PyResult<GroupStats> {
        self.figures(py).map(GroupStats::from)
    }

    #[doc = doc!(ConsumerGroup.close)]
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let members = self.group.members();
        let queue = self.queue.get();
        waking(|| {
            self.group.close();
            queue.forget_group(self.name.bind(py).to_str()?, &self.group);
            members.iter().for_each(|member| {
                queue.remove(member);
            });
            Ok(())
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    #[doc = doc!(ConsumerGroup.__aenter__)]
    fn __aenter__(slf: Py<Self>) -> Call {
        Call::entering("ConsumerGroup.__aenter__", slf)
    }

    #[pyo3(signature = (*_exc))]
    fn __aexit__(slf: Py<Self>, _exc: &Bound<'_, PyTuple>) -> Call {
        Call::closing("ConsumerGroup.__aexit__", slf)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, queue) = (self.name.bind(py).repr()?, self.queue.get().name.bind(py).repr()?);
        Ok(match self.group.stats() {
            Ok(figures) => format!(
                "<ConsumerGroup {name} of {queue}: {} unread, {} pending, {} missed>",
                figures.unread, figures.pending, figures.missed
            ),
            Err(_) => format!("<ConsumerGroup {name} of {queue}: closed>"),
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(message::not_copied("ConsumerGroup", "its position is shared by the threads of one process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
