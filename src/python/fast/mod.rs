//! Hand-written parts of the hottest calls.

pub(super) mod fronts;
pub(super) mod list;
pub(super) mod seq;
