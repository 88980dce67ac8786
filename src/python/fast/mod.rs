//! What the hottest calls do by hand.

pub(super) mod fronts;
pub(super) mod list;
pub(super) mod seq;
