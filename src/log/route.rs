//! Which slots a lease reads, where it does not read all that follow or where messages have topics.

use crate::log::tags::NO_TOPIC;
use crate::topics::Topic;

/// Slots of a chunk that a lease reads next, with the topics of their messages. What is between them does not match, but is
/// held.
#[derive(Debug)]
pub(super) struct Route {
    stops: Vec<Stop>,
    /// The topics of the stops. Those that follow each other share one.
    topics: Vec<Topic>,
    /// Place of the topic that was added last.
    last: u32,
    /// How many stops were read.
    read: usize,
    /// The slot after the last one that was read.
    pub(super) position: usize,
}

#[derive(Debug)]
struct Stop {
    slot: u16,
    /// How many topics there are up to its own; 0: it has none.
    topic: u16,
}

impl Route {
    /// A route from a slot on, with room for so many stops.
    pub(super) fn new(position: usize, room: usize) -> Self {
        Route { stops: Vec::with_capacity(room), topics: Vec::new(), last: NO_TOPIC, read: 0, position }
    }

    /// Adds a slot, and the place of its topic. `find` is called for the topic, unless it is that of the stop before.
    pub(super) fn push<'a>(&mut self, slot: usize, place: u32, find: impl FnOnce() -> Option<&'a Topic>) {
        if place != NO_TOPIC && place != self.last {
            self.topics.extend(find().cloned());
            self.last = place;
        }
        let topic = if place == NO_TOPIC { 0 } else { self.topics.len() as u16 };
        self.stops.push(Stop { slot: slot as u16, topic });
    }

    /// The next slot to read.
    #[inline]
    pub(super) fn next(&self) -> Option<usize> {
        self.stops.get(self.read).map(|stop| usize::from(stop.slot))
    }

    /// How many stops are left.
    pub(super) fn left(&self) -> usize {
        self.stops.len() - self.read
    }

    /// How many stops were read.
    pub(super) fn read(&self) -> u64 {
        self.read as u64
    }

    /// Called when the next slot has been read: its topic.
    #[inline]
    pub(super) fn pass(&mut self) -> Option<&Topic> {
        let stop = self.stops.get(self.read)?;
        self.read += 1;
        self.position = usize::from(stop.slot) + 1;
        usize::from(stop.topic).checked_sub(1).and_then(|place| self.topics.get(place))
    }
}
