//! What must hold of the log between operations.

use super::Log;
use super::chunk::{CHUNK_SIZE, NIL};

impl<T> Log<T> {
    /// Checks everything that must hold between operations.
    #[doc(hidden)]
    pub(crate) fn check(&self) {
        let (mut key, mut prev, mut end) = (self.front, NIL, 0);
        let (mut len, mut bytes, mut head, mut chunks) = (0, 0, None, 0);
        let mut indexed = Vec::new();
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
            head = head.or(live.first().map(|&i| chunk.seq(i)));
            len += live.len() as u64;
            bytes += live.iter().map(|&i| chunk.size(i)).sum::<u64>();
            end = chunk.end();
            match key == self.filling {
                true => assert!(self.filling_due <= chunk.first_deadline() && key == self.back),
                false => indexed.push((key, chunk)),
            }
            prev = key;
            key = chunk.next;
            chunks += 1;
        }
        self.index.check(indexed.into_iter());
        assert_eq!(prev, self.back);
        assert_eq!(chunks, self.chunks.len(), "no chunk outside the list");
        assert_eq!((len, bytes), (self.len, self.bytes));
        assert_eq!(head.unwrap_or(self.next), self.head);
        assert!(end <= self.next);
    }
}
