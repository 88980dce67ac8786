//! The topics of the held messages, and the filters in use. Whether a filter matches a topic is decided once for each
//! pair.
//!
//! A topic is stored as long as a message under it is held. Its text is charged once, and [`TOPIC_OVERHEAD`] is charged
//! for each message.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use slab::Slab;

use super::filter::{Filter, Stage};
use crate::need::{TOPIC_ENTRY, TOPIC_OVERHEAD};
use crate::topics::{Filters, Matcher, Topic};

/// Number of topics that are compared with a new filter in one hold of the lock.
const AT_ONCE: usize = 400;

/// Texts of a filter that one hold of the lock enters or takes out.
const TEXTS: usize = 200;

/// Topics that are few.
const FEW: usize = 64;

/// The fewest places of topics that are remembered.
const RECENT: usize = 64;
/// The most, in 1 MiB.
const MOST_RECENT: usize = 1 << 17;
/// A topic is remembered in one of so many neighbouring buckets.
const GROUP: usize = 4;

/// A topic under which at least one message is held.
#[derive(Debug)]
struct Entry {
    text: Topic,
    /// How many messages are held under it.
    held: u64,
    /// Places of the filters that it matches.
    filters: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    /// Places of the topics by text. (A hash table that grows would move all entries in one hold of the lock.)
    places: BTreeMap<Arc<str>, u32>,
    entries: Slab<Entry>,
    /// Places that were found last, by the hash of their text, of which half is stored with them. At least twice as
    /// many as there are topics, within its limits.
    recent: Box<[[u64; GROUP]]>,
    /// Bytes charged for all topics.
    charge: u64,
    matcher: Matcher,
    pub(super) filters: Slab<Filter>,
    /// Places of filters that still have to be removed.
    pub(super) left: Vec<usize>,
    /// Places of the filters by their keys.
    filter_places: BTreeMap<Arc<str>, usize>,
}

impl Topics {
    /// Whether no message has a topic.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there are so many topics that each message may be the last under its own.
    pub(crate) fn are_many(&self) -> bool {
        self.entries.len() > FEW
    }

    /// Bytes charged for topics.
    #[inline]
    pub(crate) fn charge(&self) -> u64 {
        self.charge
    }

    /// How much more this many messages are charged under a topic than without one.
    pub(crate) fn charge_of(&self, topic: &Topic, items: u64) -> u64 {
        let text = if self.places.contains_key(&topic.0) { 0 } else { entry_charge(topic) };
        items.saturating_mul(TOPIC_OVERHEAD).saturating_add(text)
    }

    /// The place of a topic under which a message is held.
    #[inline]
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.places.get(text).copied()
    }

    /// The place of a topic under which a message is held, for the usual case: it was looked for before.
    #[inline]
    pub(crate) fn find_again(&mut self, text: &str) -> Option<u32> {
        let hash = hash(text.as_bytes());
        if let Some(group) = self.recent.get(hash as usize & self.recent.len().wrapping_sub(1)) {
            for &remembered in group {
                if remembered >> 32 == hash >> 32
                    && let place = remembered as u32
                    && self.entries.get(place as usize).is_some_and(|entry| entry.text.as_str() == text)
                {
                    return Some(place);
                }
            }
        }
        self.look_up(text, hash)
    }

    /// Looks for the place of a topic, and remembers it.
    #[cold]
    fn look_up(&mut self, text: &str, hash: u64) -> Option<u32> {
        let place = self.find(text)?;
        // It starts anew when it grows or shrinks, so that no hold of the lock moves what is in it.
        let groups = (self.entries.len() * 2).next_power_of_two().clamp(RECENT, MOST_RECENT) / GROUP;
        if self.recent.len() < groups || self.recent.len() / 8 > groups {
            self.recent = vec![[0; GROUP]; groups].into();
        }
        let group = &mut self.recent[hash as usize & (self.recent.len() - 1)];
        let free = group.iter().position(|&remembered| remembered == 0);
        group[free.unwrap_or((hash >> 24) as usize % GROUP)] = hash >> 32 << 32 | u64::from(place);
        Some(place)
    }

    /// Counts this many more messages under a topic, and returns its place.
    pub(super) fn hold(&mut self, topic: &Topic, items: u64) -> u32 {
        let place = match self.places.get(&topic.0) {
            Some(&place) => place,
            None => {
                let filters = self.matcher.filters_of(topic.as_str());
                let place = self.entries.insert(Entry { text: topic.clone(), held: 0, filters }) as u32;
                self.places.insert(topic.0.clone(), place);
                self.charge += entry_charge(topic);
                place
            }
        };
        self.entries[place as usize].held += items;
        self.charge += items * TOPIC_OVERHEAD;
        place
    }

    /// Counts one more message under the topic at a place. Returns all filters, and the places of those that the topic
    /// matches.
    #[inline]
    pub(super) fn hold_one(&mut self, place: u32) -> (&mut Slab<Filter>, &[u32]) {
        let Some(entry) = self.entries.get_mut(place as usize) else { return (&mut self.filters, &[]) };
        entry.held += 1;
        self.charge += TOPIC_OVERHEAD;
        (&mut self.filters, &entry.filters)
    }

    /// Counts messages under the topic at a place that have left.
    pub(super) fn release(&mut self, place: u32, count: u64) {
        let Some(entry) = self.entries.get_mut(place as usize) else { return };
        entry.held -= count;
        self.charge -= count * TOPIC_OVERHEAD;
        if entry.held == 0 {
            self.charge -= entry_charge(&entry.text);
            let Entry { text, .. } = self.entries.remove(place as usize);
            self.places.remove(&text.0);
        }
    }

    /// The topic at a place.
    #[inline]
    pub(super) fn topic(&self, place: u32) -> Option<&Topic> {
        self.entries.get(place as usize).map(|entry| &entry.text)
    }

    /// Places of the filters that the topic at a place matches.
    #[inline]
    pub(crate) fn filters_of(&self, place: u32) -> &[u32] {
        self.entries.get(place as usize).map_or(&[], |entry| &entry.filters)
    }

    /// Places of the filters that a topic matches. No message needs to be held under the topic.
    pub(crate) fn filters_matching(&self, topic: &Topic) -> Cow<'_, [u32]> {
        match self.places.get(&topic.0) {
            Some(&place) => self.filters_of(place).into(),
            None => self.matcher.filters_of(topic.as_str()).into(),
        }
    }

    /// All filters, and the places of the filters that the topic at a place matches, in one borrow.
    pub(super) fn filters_and_entry(&mut self, place: u32) -> (&mut Slab<Filter>, &[u32]) {
        let filters = self.entries.get(place as usize).map_or(&[][..], |entry| &entry.filters);
        (&mut self.filters, filters)
    }

    /// Adds a cursor to the users of these filters, and returns their place. The filters must be built before they are
    /// used.
    pub(super) fn use_filters(&mut self, filters: &Filters) -> usize {
        if let Some(&place) = self.filter_places.get(filters.key()) {
            self.filters[place].users += 1;
            return place;
        }
        let place = self.filters.insert(Filter::new(filters.clone()));
        self.filter_places.insert(filters.key().clone(), place);
        place
    }

    /// Enters a slice of the texts of a new filter, from one on: where to go on, if there are more.
    pub(super) fn enter_texts(&mut self, place: usize, from: usize) -> Option<usize> {
        let filters = &self.filters[place].filters;
        filters.texts().skip(from).take(TEXTS).for_each(|text| self.matcher.insert(text, place as u32));
        Some(from + TEXTS).filter(|&next| next < filters.texts().len())
    }

    /// Takes a slice of the texts of a filter that nobody uses any more out: where to go on, if there are more.
    pub(super) fn remove_texts(&mut self, place: usize, from: usize) -> Option<usize> {
        let filters = &self.filters[place].filters;
        filters.texts().skip(from).take(TEXTS).for_each(|text| self.matcher.remove(text, place as u32));
        Some(from + TEXTS).filter(|&next| next < filters.texts().len())
    }

    /// One cursor less uses a filter. Whether none does any more: it has to be forgotten.
    pub(super) fn leave_filter(&mut self, place: usize) -> bool {
        let filter = &mut self.filters[place];
        filter.users -= 1;
        if filter.users > 0 {
            return false;
        }
        filter.stage = Stage::Left(0);
        self.filter_places.remove(filter.filters.key());
        self.left.push(place);
        true
    }

    /// Removes a filter from a slice of the topics, starting at a place. Returns where to continue, if more are left.
    pub(super) fn forget(&mut self, filter: usize, from: usize) -> Option<usize> {
        let upto = from.saturating_add(AT_ONCE);
        let end = self.entries.iter().next_back().map_or(0, |(last, _)| last + 1);
        for place in from..upto.min(end) {
            if let Some(entry) = self.entries.get_mut(place)
                && let Ok(at) = entry.filters.binary_search(&(filter as u32))
            {
                entry.filters.remove(at);
            }
        }
        (upto < end).then_some(upto)
    }

    /// Compares a slice of the topics with a new filter, starting at a place. Returns where to continue, if more are
    /// left.
    pub(super) fn decide(&mut self, filter: usize, from: usize) -> Option<usize> {
        let upto = from.saturating_add(AT_ONCE);
        let end = self.entries.iter().next_back().map_or(0, |(last, _)| last + 1);
        let filters = &self.filters[filter].filters;
        for place in from..upto.min(end) {
            if let Some(entry) = self.entries.get_mut(place)
                && let Err(at) = entry.filters.binary_search(&(filter as u32))
                && filters.match_topic(entry.text.as_str())
            {
                entry.filters.insert(at, filter as u32);
            }
        }
        (upto < end).then_some(upto)
    }

    /// Checks that the topics are those of the held messages: this many under each place.
    pub(super) fn check(&self, held: &HashMap<u32, u64>) {
        assert_eq!(self.places.len(), self.entries.len());
        assert_eq!(self.entries.len(), held.len(), "no topic outlives its last message");
        let mut charge = 0;
        for (place, entry) in &self.entries {
            assert_eq!(self.places.get(&entry.text.0), Some(&(place as u32)));
            assert_eq!(Some(&entry.held), held.get(&(place as u32)));
            let built = |&&filter: &&u32| self.filters[filter as usize].stage == Stage::Built;
            let matching = self.filters.iter().filter(|(_, books)| books.stage == Stage::Built);
            let matching = matching.filter(|(_, books)| books.filters.match_topic(entry.text.as_str()));
            let matching: Vec<u32> = matching.map(|(filter, _)| filter as u32).collect();
            assert_eq!(entry.filters.iter().filter(built).copied().collect::<Vec<_>>(), matching);
            charge += entry_charge(&entry.text) + entry.held * TOPIC_OVERHEAD;
        }
        assert_eq!(charge, self.charge);
        assert_eq!(self.filter_places.len() + self.left.len(), self.filters.len());
        assert!(!self.filters.is_empty() || self.matcher.is_empty());
    }
}

/// A hash of a text: eight bytes at a time, by multiplications whose halves are folded, as in
/// [wyhash](https://github.com/wangyi-fudan/wyhash). Topics that meet in one group, be it on purpose, are only looked up
/// more often. No text has the hash 0.
#[inline]
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u128 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * FACTOR;
        product as u64 ^ (product >> 64) as u64
    };
    let start = text.len() as u64;
    let hash = match text.last_chunk::<8>() {
        // The last eight bytes may be part of the word before them.
        Some(last) => {
            let words = text[..text.len() - 1].as_chunks::<8>().0.iter().chain([last]);
            words.fold(start, |hash, word| mix(hash, u64::from_le_bytes(*word)))
        }
        None => mix(start, text.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
    };
    hash | 1 << 63
}

/// The charge for a topic, apart from its messages.
fn entry_charge(topic: &Topic) -> u64 {
    topic.0.len() as u64 + TOPIC_ENTRY
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn topics_that_are_alike_meet_seldom() {
        for form in ["sensors.#", "#", "a.#.temperature.celsius", "orders.eu.#.x", "##", "0123456#"] {
            let text = |number: usize| form.replace('#', &number.to_string());
            let hashes: Vec<u64> = (0..10_000).map(|number| hash(text(number).as_bytes())).collect();
            let groups: HashSet<u64> = hashes.iter().map(|hash| hash % 8_192).collect();
            let halves: HashSet<u64> = hashes.iter().map(|hash| hash >> 32).collect();
            // By chance, 10,000 keys take 5,777 of 8,192 places.
            assert!(groups.len() > 5_600 && halves.len() > 9_990, "{form}: {} {}", groups.len(), halves.len());
        }
    }

    #[test]
    fn a_topic_is_found_as_long_as_a_message_is_held_under_it() {
        let mut topics = Topics::default();
        let topic = |number: usize| Topic::new(&format!("a.{number}")).unwrap();
        for number in 0..3_000 {
            let place = topics.hold(&topic(number), 1);
            assert_eq!(topics.find_again(topic(number).as_str()), Some(place));
            if number >= 100 {
                let old = topic(number - 100);
                let place = topics.find_again(old.as_str()).unwrap();
                topics.release(place, 1);
                assert_eq!(topics.find_again(old.as_str()), None);
            }
        }
        let found = (0..3_000).filter(|&number| topics.find_again(topic(number).as_str()).is_some());
        assert!(found.eq(2_900..3_000));
    }
}
