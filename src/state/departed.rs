//! What removed consumers had read and missed, so that sums over consumers never decrease.

use std::collections::HashMap;

/// Consumers with a common sum: those with one name, or those without a name, in the queue or in one group.
#[derive(Clone, Debug)]
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
    pub(crate) dropped: u64,
}

/// The sums of the queue or of one group, by name.
pub(super) type Sums = HashMap<Option<String>, Past>;

/// The sums. The sum for a name exists as long as a consumer with that name does, so there are never more sums than
/// consumers. The sum for consumers without a name exists as long as their queue or group.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    by_group: HashMap<Option<usize>, Sums>,
}

impl Departed {
    /// Counts a new consumer.
    pub(crate) fn enter(&mut self, who: Who) {
        self.by_group.entry(who.group).or_default().entry(who.name).or_default().here += 1;
    }

    /// Adds the figures of a removed consumer to its sum.
    pub(crate) fn depart(&mut self, who: &Who, read: u64, missed: u64, dropped: u64) {
        let Some(sums) = self.by_group.get_mut(&who.group) else { return };
        let Some(past) = sums.get_mut(&who.name) else { return };
        past.here -= 1;
        past.read += read;
        past.missed += missed;
        past.dropped += dropped;
        if past.here == 0 && who.name.is_some() {
            sums.remove(&who.name);
        }
    }

    /// Takes out the sums of a group that was removed with all its members.
    pub(super) fn forget_group(&mut self, group: usize) -> Option<Sums> {
        self.by_group.remove(&Some(group))
    }

    /// The sums that are not zero: the key of the group, the name, and the sum.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (Option<usize>, Option<&String>, &Past)> {
        let all = self
            .by_group
            .iter()
            .flat_map(|(&group, sums)| sums.iter().map(move |(name, past)| (group, name.as_ref(), past)));
        all.filter(|(_, _, past)| past.read > 0 || past.missed > 0)
    }
}
