//! What removed consumers had read and missed, so that no sum over consumers ever goes backwards.

use std::collections::HashMap;

/// Consumers with a common sum: those of one name, or those without a name, in the queue or in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    /// Key of their group.
    pub(crate) group: Option<usize>,
    pub(crate) name: Option<String>,
}

/// The sum of those who left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// How many of them are still there.
    here: usize,
    pub(crate) read: u64,
    pub(crate) missed: u64,
}

/// The sums. The sum of a name exists as long as a consumer of that name does, so that there are never more sums than
/// consumers. The sum of consumers without a name exists as long as their queue or group.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    sums: HashMap<Who, Past>,
}

impl Departed {
    /// One more is there.
    pub(crate) fn enter(&mut self, who: Who) {
        self.sums.entry(who).or_default().here += 1;
    }

    /// One of them leaves.
    pub(crate) fn depart(&mut self, who: &Who, read: u64, missed: u64) {
        let Some(past) = self.sums.get_mut(who) else { return };
        past.here -= 1;
        past.read += read;
        past.missed += missed;
        if past.here == 0 && who.name.is_some() {
            self.sums.remove(who);
        }
    }

    /// A group is gone, with all its members.
    pub(crate) fn forget_group(&mut self, group: usize) {
        self.sums.retain(|who, _| who.group != Some(group));
    }

    /// The sums that are not zero.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (&Who, &Past)> {
        self.sums.iter().filter(|(_, past)| past.read > 0 || past.missed > 0)
    }
}
