//! Which slots a lease reads, where it does not read all that follow or where messages have topics.

use crate::topics::Topic;

/// Slots of a chunk that a lease reads next, with the topics of their messages. What is between them does not match, but is
/// held.
#[derive(Debug)]
pub(super) struct Route {
    stops: Vec<Stop>,
    /// The topics of the stops, and their places. They are copies: so readers in several threads do not count references to
    /// the same ones.
    topics: Vec<Topic>,
    places: Vec<u32>,
    /// How many stops were read.
    read: usize,
    /// The slot after the last one that was read.
    pub(super) position: usize,
}

/// A topic is compared with so many of the last ones. Others may be copied again.
const COMPARED: usize = 16;
/// The most copies of a route, so that the routes of all leases are soon freed.
const COPIES: usize = 32;
/// Stands for "no topic" in place of one of the topics.
const NONE: u16 = u16::MAX;

#[derive(Debug)]
struct Stop {
    slot: u16,
    /// Which of the topics is its own; NONE: it has none.
    topic: u16,
}

impl Route {
    /// A route from a slot on, with room for so many stops.
    pub(super) fn new(position: usize, room: usize) -> Self {
        Route { stops: Vec::with_capacity(room), topics: Vec::new(), places: Vec::new(), read: 0, position }
    }

    /// Adds a slot, and the place of its topic. `find` is called for a topic that none of the last ones was. Returns
    /// whether there was room.
    pub(super) fn push<'a>(&mut self, slot: usize, place: u32, find: impl FnOnce() -> Option<&'a Topic>) -> bool {
        let first = self.places.len().saturating_sub(COMPARED);
        let known = self.places[first..].iter().rposition(|&known| known == place).map(|known| first + known);
        let topic = match (known, find) {
            (Some(known), _) => known as u16,
            (None, _) if self.topics.len() == COPIES => return false,
            (None, find) => find().map_or(NONE, |topic| {
                self.places.push(place);
                self.topics.push(topic.copy());
                self.topics.len() as u16 - 1
            }),
        };
        self.stops.push(Stop { slot: slot as u16, topic });
        true
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
        self.topics.get(usize::from(stop.topic))
    }
}
