//! Finds the lowest of many positions without comparing all of them.

/// Stands for "no position".
const NONE: u64 = u64::MAX;

/// Positions by key, and the lowest of them. This is a tree in which each node is the lower of its two children, as in
/// a [tournament](https://en.wikipedia.org/wiki/K-way_merge_algorithm#Tournament_Tree). A change is O(log n).
#[derive(Debug)]
pub(super) struct Floor {
    /// The root is at 1, and the children of `n` are at `2n` and `2n + 1`. The second half holds the positions by key.
    nodes: Vec<u64>,
}

impl Floor {
    pub(super) fn new() -> Self {
        Floor { nodes: vec![NONE; 2] }
    }

    /// The lowest position, if there is one.
    pub(super) fn lowest(&self) -> Option<u64> {
        Some(self.nodes[1]).filter(|&position| position != NONE)
    }

    /// The position of a key.
    pub(super) fn get(&self, key: usize) -> Option<u64> {
        self.nodes.get(self.nodes.len() / 2 + key).copied().filter(|&position| position != NONE)
    }

    /// Sets the position of a key, or removes it.
    pub(super) fn set(&mut self, key: usize, position: Option<u64>) {
        let leaves = self.nodes.len() / 2;
        if key >= leaves {
            self.grow(key);
        }
        let mut node = self.nodes.len() / 2 + key;
        self.nodes[node] = position.unwrap_or(NONE);
        while node > 1 {
            let lower = self.nodes[node & !1].min(self.nodes[node | 1]);
            node /= 2;
            if self.nodes[node] == lower {
                break;
            }
            self.nodes[node] = lower;
        }
    }

    /// Makes room for a key.
    fn grow(&mut self, key: usize) {
        let old = std::mem::take(&mut self.nodes);
        let leaves = (key + 1).next_power_of_two();
        self.nodes = vec![NONE; leaves];
        self.nodes.extend_from_slice(&old[old.len() / 2..]);
        self.nodes.resize(2 * leaves, NONE);
        for node in (1..leaves).rev() {
            self.nodes[node] = self.nodes[2 * node].min(self.nodes[2 * node + 1]);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_is_that_of_a_search() {
        let mut floor = Floor::new();
        let mut positions: Vec<Option<u64>> = vec![None; 300];
        let mut seed = 1u64;
        for step in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (seed >> 33) as usize % if step < 10_000 { 7 } else { 300 };
            let position = (seed >> 20 & 3 != 0).then_some(seed >> 50);
            positions[key] = position;
            floor.set(key, position);
            assert_eq!(floor.lowest(), positions.iter().flatten().min().copied());
        }
    }
}
