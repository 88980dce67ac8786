//! Gives messages their topic, and counts the matches of filters when messages are added and removed.

use super::Log;
use super::chunk::Chunk;
use super::filter::{Filter, Stage};
use super::held::Held;
use super::segment::Segment;
use super::tags::NO_TOPIC;
use super::topics::Topics;
use crate::time::NEVER;
use crate::time::clock::Now;
use crate::topics::{Filters, Topic};

/// Chunks that one hold of the lock counts for a new filter.
const AT_ONCE: usize = 1;
/// Chunks that one hold of the lock has forget a filter.
const FORGOTTEN: usize = 250;

impl<T> Log<T> {
    /// Called before messages with a topic are added. Afterwards no lease without a route reads the chunk that they go into,
    /// because a lane knows only the topics of its route.
    #[inline]
    pub(crate) fn prepare_to_tag(&mut self) {
        if self.chunks.get(self.filling).is_some_and(|chunk| chunk.topics.is_empty()) {
            self.leases.vacate_chunk(self.filling);
        }
    }

    /// Gives a topic to the messages from `first` on, which were added under this hold of the lock.
    pub(crate) fn tag(&mut self, first: u64, topic: &Topic) {
        if first < self.next {
            let place = self.topics.hold(topic, self.next - first);
            self.mark(first, place);
        }
    }

    /// Appends a message under the topic at a place, under which others are held.
    #[inline]
    pub(crate) fn append_under(&mut self, place: u32, payload: T, size: u64, now: Now) -> u64 {
        self.prepare_to_tag();
        let seq = self.append(payload, size, now);
        let Some(chunk) = self.chunks.get_mut(self.filling) else { return seq };
        let slot = chunk.slots.len() - 1;
        chunk.topics.push(slot, place);
        let (filters, matching) = self.topics.hold_one(place);
        for &filter in matching {
            let books = &mut filters[filter as usize];
            if books.stage == Stage::Built {
                count_one(&mut chunk.segments, filter, books, slot, size);
            }
        }
        seq
    }

    fn mark(&mut self, first: u64, place: u32) {
        let mut key = self.chunk_at(first, self.filling);
        let (filters, matching) = self.topics.filters_and_entry(place);
        while let Some(chunk) = self.chunks.get_mut(key) {
            let (from, end) = (chunk.index(first.max(chunk.base)), chunk.slots.len());
            chunk.topics.set(from, end, place);
            let bytes = chunk.through_before(end).wrapping_sub(chunk.through_before(from));
            let added = Held { items: (end - from) as u64, bytes };
            let full = (key != self.filling).then_some(key);
            for &filter in matching {
                let books = &mut filters[filter as usize];
                if books.stage == Stage::Built {
                    count(chunk, filter, books, added, full, |segment, number| {
                        segment.push_range(from..end, number, added)
                    });
                }
            }
            key = chunk.next;
        }
    }

    /// The place of the topic of a held message. The hint is the key of a chunk.
    pub(crate) fn topic_place(&self, seq: u64, hint: usize) -> u32 {
        let chunk = self.chunks.get(self.chunk_at(seq, hint));
        let place = chunk.and_then(|chunk| Some((chunk, chunk.find(seq)?)));
        place
            .filter(|(chunk, index)| chunk.slots[*index].payload.is_some())
            .map_or(NO_TOPIC, |(chunk, index)| chunk.topic_at(index))
    }

    /// Adds a cursor to the users of these filters, and returns their place. [`build_filter`](Self::build_filter) must
    /// follow.
    pub(crate) fn use_filters(&mut self, filters: &Filters) -> usize {
        self.topics.use_filters(filters)
    }

    /// Processes a slice of the messages that were held when the filter was added. Returns whether more are left.
    pub(crate) fn build_filter(&mut self, place: usize) -> bool {
        match self.topics.filters[place].stage {
            Stage::Texts(from) => {
                let next = self.topics.enter_texts(place, from);
                self.topics.filters[place].stage = next.map_or(Stage::Topics(0), Stage::Texts);
                true
            }
            Stage::Topics(from) => {
                let next = self.topics.decide(place, from);
                self.topics.filters[place].stage = next.map_or(Stage::Messages(0), Stage::Topics);
                true
            }
            Stage::Messages(from) => {
                let stage = self.count_messages(place, from);
                self.topics.filters[place].stage = stage;
                stage != Stage::Built
            }
            Stage::Built | Stage::Left(_) | Stage::Undecided(_) | Stage::Emptied(_) => false,
        }
    }

    fn count_messages(&mut self, place: usize, from: u64) -> Stage {
        let mut from = from.max(self.head);
        let mut key = self.chunk_at(from, self.front);
        let mut visited = 0;
        while let Some(chunk) = self.chunks.get_mut(key) {
            if visited == AT_ONCE {
                return Stage::Messages(from);
            }
            visited += usize::from(!chunk.topics.is_empty());
            let topics = &self.topics;
            let does_match = |slot: &usize| {
                chunk.slots[*slot].payload.is_some()
                    && topics.filters_of(chunk.topics.get(*slot)).binary_search(&(place as u32)).is_ok()
            };
            let slots: Vec<usize> =
                (chunk.index(from.max(chunk.base))..chunk.topics.len()).filter(does_match).collect();
            let bytes = slots.iter().map(|&slot| chunk.size(slot)).sum();
            let added = Held { items: slots.len() as u64, bytes };
            let (books, full) = (&mut self.topics.filters[place], (key != self.filling).then_some(key));
            count(chunk, place as u32, books, added, full, |segment, number| {
                segment.push_all(slots.into_iter(), number, added)
            });
            from = chunk.end();
            key = chunk.next;
        }
        Stage::Built
    }

    /// Removes a cursor from the users of a filter. Returns whether no user is left; then
    /// [`forget_filters`](Self::forget_filters) must follow.
    pub(crate) fn leave_filter(&mut self, place: usize) -> bool {
        self.topics.leave_filter(place)
    }

    /// Whether there are filters that nobody uses any more.
    pub(crate) fn has_left_filters(&self) -> bool {
        !self.topics.left.is_empty()
    }

    /// Forgets a slice of what is known of filters that nobody uses any more. Whether there is more.
    pub(crate) fn forget_filters(&mut self) -> bool {
        let Some(&place) = self.topics.left.last() else { return false };
        let stage = match self.topics.filters[place].stage {
            Stage::Left(from) => self.topics.remove_texts(place, from).map_or(Stage::Undecided(0), Stage::Left),
            Stage::Undecided(from) => self.topics.forget(place, from).map_or(Stage::Emptied(0), Stage::Undecided),
            Stage::Emptied(from) => {
                let mut key = self.chunk_at(from.max(self.head), self.front);
                for _ in 0..FORGOTTEN {
                    let Some(chunk) = self.chunks.get_mut(key) else { break };
                    chunk.segments.retain(|segment| segment.filter != place as u32);
                    key = chunk.next;
                }
                match self.chunks.get(key) {
                    Some(chunk) => Stage::Emptied(chunk.base),
                    None => {
                        self.topics.left.pop();
                        self.topics.filters.remove(place);
                        return !self.topics.left.is_empty();
                    }
                }
            }
            stage => stage,
        };
        self.topics.filters[place].stage = stage;
        true
    }
}

/// Adds the last message of the chunk that is being filled to the counts of a filter that it matches.
#[inline]
fn count_one(segments: &mut Vec<Segment>, filter: u32, books: &mut Filter, slot: usize, bytes: u64) {
    if segments.get(books.hint).is_none_or(|segment| segment.filter != filter) {
        books.hint = find_or_insert(segments, filter, books.next);
    }
    segments[books.hint].push_one(slot, books.next, bytes);
    books.next += 1;
    books.held.add(Held { items: 1, bytes });
}

/// The place of a filter's segment in its chunk, where one is made if there is none.
#[inline(never)]
fn find_or_insert(segments: &mut Vec<Segment>, filter: u32, next: u64) -> usize {
    segments.binary_search_by_key(&filter, |segment| segment.filter).unwrap_or_else(|place| {
        segments.insert(place, Segment::new(filter, next));
        place
    })
}

/// Adds held messages of a chunk, which match, to the counts of a filter. `full`: the key of the chunk, unless it is
/// the one that is being filled.
fn count<T>(
    chunk: &mut Chunk<T>,
    filter: u32,
    books: &mut Filter,
    added: Held,
    full: Option<usize>,
    enter: impl FnOnce(&mut Segment, u64),
) {
    if added.items == 0 {
        return;
    }
    let place = find_or_insert(&mut chunk.segments, filter, books.next);
    enter(&mut chunk.segments[place], books.next);
    books.next += added.items;
    books.held.add(added);
    if let Some(key) = full {
        match books.index.has(chunk.base) {
            true => books.index.add(chunk.base, added),
            false => books.index.push(chunk.base, key, added, NEVER),
        }
    }
}

impl Topics {
    /// Updates the counts after a message has left a slot of a chunk. `is_full`: the chunk is not the one that is being
    /// filled.
    pub(super) fn left<T>(&mut self, chunk: &mut Chunk<T>, index: usize, is_full: bool) {
        let topic = chunk.topics.get(index);
        if topic == NO_TOPIC {
            return;
        }
        let gone = Held { items: 1, bytes: chunk.size(index) };
        let seq = chunk.seq(index);
        let (filters, matching) = self.filters_and_entry(topic);
        for &filter in matching {
            let books = &mut filters[filter as usize];
            if !books.knows(seq) {
                continue;
            }
            let Ok(place) = chunk.segments.binary_search_by_key(&filter, |segment| segment.filter) else { continue };
            let segment = &mut chunk.segments[place];
            segment.held.subtract(gone);
            books.held.subtract(gone);
            let is_over = segment.held.items == 0;
            if is_over {
                chunk.segments.remove(place);
            }
            match is_full {
                true if is_over => books.index.remove(chunk.base),
                true => books.index.subtract(chunk.base, gone),
                false => {}
            }
        }
        self.release(topic, 1);
    }

    /// Updates the counts when all messages of a chunk leave with it. Called before the chunk is taken out.
    pub(super) fn all_left<T>(&mut self, chunk: &Chunk<T>, is_full: bool) {
        for segment in &chunk.segments {
            let books = &mut self.filters[segment.filter as usize];
            books.held.subtract(segment.held);
            if is_full {
                books.index.remove(chunk.base);
            }
        }
        let topics = chunk.topics.runs().filter(|&(topic, _)| topic != NO_TOPIC);
        topics.for_each(|(topic, count)| self.release(topic, count));
    }
}
