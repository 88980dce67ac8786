//! Topics of messages, and filters of readers. They are chosen by seq and by turn, so that older inputs keep their
//! meaning.

use std::collections::BTreeSet;

use mpmc_queue::{Filters, Queue, TOPIC_ENTRY, TOPIC_OVERHEAD, Topic};

use crate::books::Payload;
use crate::input::Setup;

const TOPICS: [&str; 5] = ["a", "a.b", "a.c", "b", "b.c.d"];
const FILTERS: [&[&str]; 5] = [&["a.*"], &[">"], &["b.>", "a"], &["*"], &["a.b", "*.b"]];

pub struct Topics {
    is_on: bool,
    /// The topic of each message that was enqueued.
    each: Vec<Option<Topic>>,
    turn: usize,
}

impl Topics {
    pub fn new(setup: &Setup) -> Self {
        Topics { is_on: setup.dead_items.is_some_and(|items| items % 2 == 1), each: Vec::new(), turn: 0 }
    }

    /// The topic of the message that is enqueued next.
    pub fn of(&self, seq: u64) -> Option<Topic> {
        let text = TOPICS.get(seq as usize * 7 % (TOPICS.len() + 1)).filter(|_| self.is_on)?;
        Some(Topic::new(text).unwrap())
    }

    /// The filters of the next reader.
    pub fn next_filters(&mut self) -> Option<Filters> {
        self.turn += 1;
        let texts = FILTERS.get(self.turn * 5 % (FILTERS.len() + 2)).filter(|_| self.is_on)?;
        Some(Filters::new(texts.iter().copied()).unwrap())
    }

    pub fn add(&mut self, topic: Option<&Topic>, count: u64) {
        self.each.extend(std::iter::repeat_n(topic.cloned(), count as usize));
    }

    /// How many of the enqueued messages match.
    pub fn enqueued(&self, filters: Option<&Filters>) -> u64 {
        self.each.iter().filter(|topic| wants(filters, topic.as_ref())).count() as u64
    }

    /// Checks a delivery.
    pub fn check(&self, seq: u64, topic: Option<&Topic>, filters: Option<&Filters>) {
        assert_eq!(self.each[seq as usize].as_ref(), topic, "it keeps its topic");
        assert!(wants(filters, topic), "it matches");
    }

    /// What a queue charges for the topics of its messages.
    pub fn charged(&self, queue: &Queue<Payload>) -> u64 {
        let (mut texts, mut charge) = (BTreeSet::new(), 0);
        if self.is_on {
            queue.look(0, usize::MAX, |delivery| {
                charge += delivery.topic.map_or(0, |_| TOPIC_OVERHEAD);
                texts.extend(delivery.topic.map(|topic| topic.as_str().to_owned()));
            });
        }
        charge + texts.iter().map(|text| text.len() as u64 + TOPIC_ENTRY).sum::<u64>()
    }
}

fn wants(filters: Option<&Filters>, topic: Option<&Topic>) -> bool {
    filters.is_none_or(|filters| topic.is_some_and(|topic| filters.match_topic(topic.as_str())))
}
