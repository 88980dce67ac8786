//! The topics of a chunk's slots.

/// Stands for "no topic" in place of the place of a topic.
pub(super) const NO_TOPIC: u32 = u32::MAX;

/// Places of topics, by slot. While all slots have the same topic, it is stored once.
///
/// Entries of slots whose message has left have no meaning.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// How many slots have an entry. Later slots have no topic.
    len: usize,
    /// The topic of all slots, while it is the same.
    same: u32,
    /// The topic of each slot, if they differ.
    each: Vec<u32>,
}

impl Tags {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The topic of a slot.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> u32 {
        match self.each.get(slot) {
            Some(&topic) => topic,
            None if slot < self.len => self.same,
            None => NO_TOPIC,
        }
    }

    /// Sets the topic of the slots in `from..end`. Earlier slots without an entry get no topic.
    #[inline]
    pub(super) fn set(&mut self, from: usize, end: usize, topic: u32) {
        if self.each.is_empty() && from == self.len && (from == 0 || topic == self.same) {
            (self.len, self.same) = (end, topic);
            return;
        }
        if self.each.is_empty() {
            self.each = vec![self.same; self.len];
        }
        self.each.resize(from, NO_TOPIC);
        self.each.resize(end, topic);
        self.len = end;
    }

    /// Sets the topic of one slot, after all that have an entry.
    #[inline]
    pub(super) fn push(&mut self, slot: usize, topic: u32) {
        match slot == self.len {
            true if self.each.is_empty() && topic == self.same => self.len += 1,
            true if !self.each.is_empty() => {
                self.each.push(topic);
                self.len += 1;
            }
            _ => self.set(slot, slot + 1, topic),
        }
    }

    /// Keeps the entries of these slots, in order.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        let tags = std::mem::take(self);
        kept.iter().enumerate().for_each(|(slot, &old)| self.set(slot, slot + 1, tags.get(old)));
    }

    /// Takes over the entries of the next chunk, whose slots follow the first `shift`.
    pub(super) fn absorb(&mut self, other: &Tags, shift: usize) {
        (0..other.len).for_each(|slot| self.set(shift + slot, shift + slot + 1, other.get(slot)));
    }

    /// The topics, each with the number of consecutive slots that have it.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u64)> {
        let mut slot = 0;
        std::iter::from_fn(move || {
            let topic = Some(self.get(slot)).filter(|_| slot < self.len)?;
            let start = slot;
            slot = match self.each.is_empty() {
                true => self.len,
                false => {
                    self.each[start..].iter().position(|&other| other != topic).map_or(self.len, |run| start + run)
                }
            };
            Some((topic, (slot - start) as u64))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_a_list() {
        let (mut tags, mut list) = (Tags::default(), Vec::new());
        let mut seed = 7u64;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (gap, count, topic) =
                ((seed >> 60) as usize / 8, 1 + (seed >> 40) as usize % 5, (seed >> 33) as u32 % 2);
            let from = list.len() + gap;
            list.resize(from, NO_TOPIC);
            list.resize(from + count, topic);
            match count {
                1 => tags.push(from, topic),
                _ => tags.set(from, from + count, topic),
            }
            if seed >> 50 & 31 == 0 {
                let kept: Vec<usize> = (0..list.len()).filter(|slot| slot % 3 != 0).collect();
                list = kept.iter().map(|&slot| list[slot]).collect();
                tags.keep(&kept);
            }
            assert!((0..list.len() + 3).all(|slot| tags.get(slot) == list.get(slot).copied().unwrap_or(NO_TOPIC)));
            let runs: Vec<u32> =
                tags.runs().flat_map(|(topic, run)| std::iter::repeat_n(topic, run as usize)).collect();
            assert_eq!(runs, list[..tags.len()]);
            if list.len() > 40 {
                (tags, list) = (Tags::default(), Vec::new());
            }
        }
    }
}
