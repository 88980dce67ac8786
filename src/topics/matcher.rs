//! Finds the filters that a topic matches, without comparing it with each of them.

use std::collections::BTreeMap;

/// The filters, token by token: a [trie](https://en.wikipedia.org/wiki/Trie), like the subject lists of NATS servers.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    /// What follows a token.
    tokens: BTreeMap<Box<str>, Matcher>,
    /// What follows "*".
    any: Option<Box<Matcher>>,
    /// Filters that end here.
    here: Vec<u32>,
    /// Filters that end with ">" here.
    rest: Vec<u32>,
}

impl Matcher {
    /// Enters a filter.
    pub(crate) fn insert(&mut self, text: &str, filter: u32) {
        self.ends(text.split('.')).push(filter);
    }

    /// The list of filters that end at the same node as this one.
    fn ends<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>) -> &mut Vec<u32> {
        match tokens.next() {
            None => &mut self.here,
            Some(">") => &mut self.rest,
            Some("*") => self.any.get_or_insert_default().ends(tokens),
            Some(token) => self.tokens.entry(token.into()).or_default().ends(tokens),
        }
    }

    /// Takes a filter out.
    pub(crate) fn remove(&mut self, text: &str, filter: u32) {
        self.remove_from(text.split('.'), filter);
    }

    fn remove_from<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>, filter: u32) {
        match tokens.next() {
            None => self.here.retain(|&other| other != filter),
            Some(">") => self.rest.retain(|&other| other != filter),
            Some("*") => {
                if let Some(any) = &mut self.any {
                    any.remove_from(tokens, filter);
                    if any.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(token) => {
                if let Some(next) = self.tokens.get_mut(token) {
                    next.remove_from(tokens, filter);
                    if next.is_empty() {
                        self.tokens.remove(token);
                    }
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    /// The filters that a topic matches, each once, in order.
    pub(crate) fn filters_of(&self, topic: &str) -> Vec<u32> {
        let mut filters = Vec::new();
        self.collect(topic.split('.'), &mut filters);
        filters.sort_unstable();
        filters.dedup();
        filters
    }

    /// Whether a topic matches any of the filters.
    pub(crate) fn any_matches(&self, topic: &str) -> bool {
        self.any_of(topic.split('.'))
    }

    fn any_of<'a>(&self, mut tokens: impl Iterator<Item = &'a str> + Clone) -> bool {
        let Some(token) = tokens.next() else { return !self.here.is_empty() };
        !self.rest.is_empty()
            || self.tokens.get(token).is_some_and(|next| next.any_of(tokens.clone()))
            || self.any.as_ref().is_some_and(|any| any.any_of(tokens))
    }

    fn collect<'a>(&self, mut tokens: impl Iterator<Item = &'a str> + Clone, filters: &mut Vec<u32>) {
        let Some(token) = tokens.next() else {
            filters.extend(&self.here);
            return;
        };
        filters.extend(&self.rest);
        if let Some(next) = self.tokens.get(token) {
            next.collect(tokens.clone(), filters);
        }
        if let Some(any) = &self.any {
            any.collect(tokens, filters);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a topic matches a filter, token by token.
    fn matches(filter: &str, topic: &str) -> bool {
        let mut tokens = topic.split('.');
        for wanted in filter.split('.') {
            match tokens.next() {
                None => return false,
                Some(_) if wanted == ">" => return true,
                Some(token) if wanted == "*" || wanted == token => {}
                Some(_) => return false,
            }
        }
        tokens.next().is_none()
    }

    proptest! {
        #[test]
        fn it_finds_what_matching_each_finds(
            filters in proptest::collection::vec(("([ab*]\\.){0,3}[ab*>]", any::<bool>()), 0..12),
            topics in proptest::collection::vec("([ab]\\.){0,3}[ab]", 1..6),
        ) {
            let mut matcher = Matcher::default();
            for (number, (text, _)) in filters.iter().enumerate() {
                matcher.insert(text, number as u32);
            }
            for (number, (text, stays)) in filters.iter().enumerate() {
                if !stays {
                    matcher.remove(text, number as u32);
                }
            }
            for topic in topics {
                let each = filters.iter().enumerate();
                let found = each.filter(|(_, (text, stays))| *stays && matches(text, &topic));
                prop_assert_eq!(matcher.any_matches(&topic), found.clone().next().is_some());
                let expected: Vec<u32> = found.map(|(number, _)| number as u32).collect();
                prop_assert_eq!(matcher.filters_of(&topic), expected);
            }
            for (number, (text, _)) in filters.iter().enumerate() {
                matcher.remove(text, number as u32);
            }
            prop_assert!(matcher.is_empty(), "nothing is left behind");
        }
    }
}
