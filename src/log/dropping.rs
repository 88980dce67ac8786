//! Notes which messages are dropped, for those who read everything and for the filters.

use super::Log;
use super::chunk::NIL;
use super::drops::Drops;

impl<T> Log<T> {
    /// The drops among everything, or among the matches of a filter.
    pub(crate) fn drops_of(&self, filter: Option<usize>) -> &Drops {
        filter.map_or(&self.drops, |filter| &self.topics.filters[filter].drops)
    }

    /// Called before a message, which may have a topic, is dropped. Returns whether a new run begins.
    pub(crate) fn note_drop(&mut self, seq: u64) -> bool {
        let mut begins = self.drops.add(seq..seq + 1);
        let topic = self.topic_place(seq, NIL);
        for at in 0..self.topics.filters_of(topic).len() {
            let filter = self.topics.filters_of(topic)[at] as usize;
            if self.topics.filters[filter].knows(seq) {
                let number = self.number_at(filter, seq).0;
                begins |= self.topics.filters[filter].drops.add(number..number + 1);
            }
        }
        begins
    }

    /// Forgets the runs that nobody may ask for any more: see [`Drops::forget`].
    pub(crate) fn forget_drops(&mut self) {
        self.drops.forget();
        self.topics.filters.iter_mut().for_each(|(_, filter)| filter.drops.forget());
    }
}
