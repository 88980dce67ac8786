//! What removed consumers had read and missed, so that sums over consumers never decrease.

use std::collections::HashMap;

/// Consumers with a common sum: those with one name, or those without a name, in the queue or in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    /// Key of their group.
    pub(crate) group: Option<usize>,
    pub(crate) name: Option<String>,
}

/// The sum of the consumers that were removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// How many consumers with this sum are still present.
    here: usize,
    pub(crate) read: u64,
    pub(crate) missed: u64,
}

/// The sums. The sum for a name exists as long as a consumer with that name does, so there are never more sums than
/// consumers. The sum for consumers without a name exists as long as their queue or group.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    sums: HashMap<Who, Past>,
}

impl Departed {
    /// Counts a new consumer.
    pub(crate) fn enter(&mut self, who: Who) {
        self.sums.entry(who).or_default().here += 1;
    }

    /// Adds the figures of a removed consumer to its sum.
    pub(crate) fn depart(&mut self, who: &Who, read: u64, missed: u64) {
        let Some(past) = self.sums.get_mut(who) else { return };
        past.here -= 1;
        past.read += read;
        past.missed += missed;
        if past.here == 0 && who.name.is_some() {
            self.sums.remove(who);
        }
    }

    /// Removes the sums of a group that was removed with all its members.
    pub(crate) fn forget_group(&mut self, group: usize) {
        self.sums.retain(|who, _| who.group != Some(group));
    }

    /// The sums that are not zero.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (&Who, &Past)> {
        self.sums.iter().filter(|(_, past)| past.read > 0 || past.missed > 0)
    }
}
