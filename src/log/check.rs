//! Invariants of the log between operations.

use std::collections::HashMap;

use super::Log;
use super::chunk::{CHUNK_SIZE, Chunk, NIL};
use super::filter::Stage;
use super::held::Held;
use super::tags::NO_TOPIC;

impl<T> Log<T> {
    /// Checks all invariants between operations.
    #[doc(hidden)]
    pub(crate) fn check(&self) {
        let (mut key, mut prev, mut end) = (self.front, NIL, 0);
        let (mut len, mut bytes, mut head, mut chunks) = (0, 0, None, 0);
        let mut indexed = Vec::new();
        let mut topics: HashMap<u32, u64> = HashMap::new();
        while let Some(chunk) = self.chunks.get(key) {
            assert_eq!(chunk.prev, prev, "links agree");
            assert!(chunk.base >= end, "chunks in order");
            assert!(chunk.slots.len() <= CHUNK_SIZE && !chunk.slots.is_empty());
            assert!(chunk.is_dense() || chunk.offsets.len() == chunk.slots.len());
            assert!(chunk.offsets.is_sorted() && chunk.deadlines.len() <= chunk.slots.len());
            let live: Vec<_> = (0..chunk.slots.len()).filter(|&i| chunk.slots[i].payload.is_some()).collect();
            assert_eq!(live.len(), chunk.live as usize);
            assert_eq!(live.iter().filter(|&&i| chunk.slots[i].stamp.has_own_ttl()).count(), chunk.own as usize);
            assert!(!live.is_empty() || key == self.filling, "only the chunk being filled may hold nothing");
            for &index in &live {
                let topic = chunk.topic_at(index);
                if topic != NO_TOPIC {
                    *topics.entry(topic).or_default() += 1;
                }
            }
            head = head.or(live.first().map(|&i| chunk.seq(i)));
            len += live.len() as u64;
            bytes += live.iter().map(|&i| chunk.size(i)).sum::<u64>();
            end = chunk.end();
            match key == self.filling {
                true => assert!(self.filling_due <= chunk.first_deadline() && key == self.back),
                false => indexed.push((key, &**chunk)),
            }
            prev = key;
            key = chunk.next;
            chunks += 1;
        }
        self.topics.check(&topics);
        self.topics.filters.iter().filter(|(_, books)| books.stage == Stage::Built).for_each(|(filter, books)| {
            let matching = |chunk: &Chunk<T>, index: usize| {
                chunk.slots[index].payload.is_some()
                    && self
                        .topics
                        .topic(chunk.topic_at(index))
                        .is_some_and(|topic| books.filters.match_topic(topic.as_str()))
            };
            let mut held = Held::default();
            let mut key = self.front;
            while let Some(chunk) = self.chunks.get(key) {
                let slots: Vec<usize> = (0..chunk.topics.len()).filter(|&index| matching(chunk, index)).collect();
                let segment = chunk.segment(filter);
                let of_segment: Vec<usize> = chunk.matches(filter, 0).map(|(slot, _)| slot).collect();
                assert_eq!(of_segment, slots, "a filter knows every match");
                if let Some(segment) = segment {
                    segment.check(books.next);
                    assert_eq!(chunk.sum_matches(filter, 0), segment.held);
                    held.add(segment.held);
                }
                if key != self.filling {
                    assert_eq!(books.index.has(chunk.base), segment.is_some(), "and the chunks with one");
                }
                key = chunk.next;
            }
            assert_eq!(held, books.held);
            let filling = self.chunks.get(self.filling).and_then(|chunk| chunk.segment(filter));
            let filling = filling.map_or(Held::default(), |segment| segment.held);
            let full = books.index.held_through(u64::MAX);
            assert_eq!((full.items + filling.items, full.bytes + filling.bytes), (held.items, held.bytes));
        });
        self.index.check(indexed.into_iter());
        assert_eq!(prev, self.back);
        assert_eq!(chunks, self.chunks.len(), "no chunk outside the list");
        assert_eq!((len, bytes), (self.len, self.bytes));
        assert_eq!(head.unwrap_or(self.next), self.head);
        assert!(end <= self.next);
    }
}
