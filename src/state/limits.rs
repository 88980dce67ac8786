//! Changes of the limits, and closing.

use super::{Effects, State};
use crate::wait::list::SpaceWaiter;

impl<T> State<T> {
    pub(crate) fn set_max_bytes(&mut self, max: u64, fx: &mut Effects<T>) {
        self.budget.set_max_bytes(max);
        self.audit.set_max(self.budget.max_bytes(), &mut self.consumers);
        self.limits_changed(fx);
    }

    pub(crate) fn set_max_items(&mut self, max: Option<u64>, fx: &mut Effects<T>) {
        self.budget.max_items = max;
        self.limits_changed(fx);
    }

    fn limits_changed(&mut self, fx: &mut Effects<T>) {
        // Producers that can never be admitted are woken too, so that they get their error.
        let budget = &self.budget;
        let hopeless =
            |producer: &&SpaceWaiter| budget.check_ever(producer.need.under(producer.topic.as_ref())).is_err();
        fx.wakers.extend(self.producers.iter().filter(hopeless).map(|producer| producer.waiter.waker.clone()));
        self.wake_producer(fx);
    }

    pub(crate) fn close(&mut self, immediate: bool, fx: &mut Effects<T>) {
        self.closed = true;
        self.note_plain();
        if immediate {
            self.discard(fx);
        }
        self.wake_all(fx);
    }
}
