//! Topics, and the filters with which consumers select them.
//!
//! A topic consists of tokens joined by ".", like the subjects of [NATS](https://docs.nats.io/nats-concepts/subjects).
//! In a filter, "*" matches one token, and ">" at the end matches one or more.

mod matcher;

use std::fmt;
use std::sync::Arc;

pub(crate) use matcher::Matcher;

/// Bytes of a topic or filter at the most.
pub const LONGEST_TOPIC: usize = 255;

/// The topic of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(pub(crate) Arc<str>);

impl Topic {
    /// Makes a topic of a text.
    ///
    /// # Errors
    /// If the text is not a valid topic: what is wrong with it.
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        check(text, false)?;
        Ok(Topic(text.into()))
    }

    /// A topic with the same text, but memory of its own.
    pub(crate) fn copy(&self) -> Self {
        Topic(Arc::from(&*self.0))
    }

    /// The text of the topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a consumer wants: messages whose topic matches one of these.
#[derive(Clone, Debug)]
pub struct Filters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// As they were given.
    texts: Vec<Box<str>>,
    /// The same for all filters with these texts.
    key: Arc<str>,
    matcher: Matcher,
}

impl PartialEq for Filters {
    fn eq(&self, other: &Self) -> bool {
        self.0.texts == other.0.texts
    }
}

impl Eq for Filters {}

impl Filters {
    /// Makes filters of these texts.
    ///
    /// # Errors
    /// What is wrong with the first bad text, or that there are no texts.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadTopic> {
        let texts: Vec<Box<str>> =
            texts.into_iter().map(|text| check(text, true).map(|()| text.into())).collect::<Result<_, _>>()?;
        if texts.is_empty() {
            return Err(BadTopic::NoFilter);
        }
        let mut matcher = Matcher::default();
        texts.iter().for_each(|text| matcher.insert(text, 0));
        let mut distinct: Vec<&str> = texts.iter().map(|text| &**text).collect();
        distinct.sort_unstable();
        distinct.dedup();
        // No text contains white space.
        let key = distinct.join("\n").into();
        Ok(Filters(Arc::new(Inner { texts, key, matcher })))
    }

    /// The texts, as they were given.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.texts.iter().map(|text| &**text)
    }

    /// Equal for filters that consist of the same texts, in whatever order. It is made in advance, because filters are
    /// looked up while the queue's lock is held.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// Whether a topic matches at least one filter.
    pub fn match_topic(&self, topic: &str) -> bool {
        self.0.matcher.any_matches(topic)
    }
}

/// What is wrong with a topic or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTopic {
    /// The text is empty.
    Empty,
    /// The text is longer than [`LONGEST_TOPIC`]: it has this many bytes.
    TooLong(usize),
    /// A token is empty.
    EmptyToken,
    /// The text contains white space.
    WhiteSpace,
    /// A topic contains a wildcard.
    Wildcard,
    /// A filter contains a wildcard that is not a whole token.
    PartialWildcard(char),
    /// A filter has ">" before the end.
    RestNotLast,
    /// There are no filters.
    NoFilter,
}

impl fmt::Display for BadTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadTopic::Empty => f.write_str("it is empty"),
            BadTopic::TooLong(bytes) => write!(f, "it takes {bytes} bytes of UTF-8; {LONGEST_TOPIC} are allowed"),
            BadTopic::EmptyToken => f.write_str("it has an empty token (a \".\" at an end, or two in a row)"),
            BadTopic::WhiteSpace => f.write_str("it holds white space"),
            BadTopic::Wildcard => {
                f.write_str("\"*\" and \">\" are for filters (topics=), and a message has one definite topic")
            }
            BadTopic::PartialWildcard(wildcard) => write!(f, "\"{wildcard}\" must be a whole token"),
            BadTopic::RestNotLast => f.write_str("\">\" must be the last token"),
            BadTopic::NoFilter => f.write_str("there are no filters; None is for everything"),
        }
    }
}

impl std::error::Error for BadTopic {}

/// White space as defined by Python's `str.isspace`.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// Checks the text of a topic, or of a filter.
fn check(text: &str, is_filter: bool) -> Result<(), BadTopic> {
    if text.is_empty() {
        return Err(BadTopic::Empty);
    }
    if text.len() > LONGEST_TOPIC {
        return Err(BadTopic::TooLong(text.len()));
    }
    let mut tokens = text.split('.').peekable();
    while let Some(token) = tokens.next() {
        if token.is_empty() {
            return Err(BadTopic::EmptyToken);
        }
        if token.contains(is_space) {
            return Err(BadTopic::WhiteSpace);
        }
        let Some(wildcard) = token.chars().find(|character| matches!(character, '*' | '>')) else { continue };
        if !is_filter {
            return Err(BadTopic::Wildcard);
        }
        if token.len() > 1 {
            return Err(BadTopic::PartialWildcard(wildcard));
        }
        if wildcard == '>' && tokens.peek().is_some() {
            return Err(BadTopic::RestNotLast);
        }
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_tokens_joined_by_dots() {
        for text in ["a", "orders.eu.new", "ä.ß", "a-b.c_d", "\u{200b}"] {
            assert_eq!(Topic::new(text).map(|topic| topic.as_str().to_owned()), Ok(text.to_owned()));
        }
        for (text, why) in [
            ("", BadTopic::Empty),
            (".", BadTopic::EmptyToken),
            ("a.", BadTopic::EmptyToken),
            (".a", BadTopic::EmptyToken),
            ("a..b", BadTopic::EmptyToken),
            ("a b", BadTopic::WhiteSpace),
            ("a.\u{a0}", BadTopic::WhiteSpace),
            ("a\x1c", BadTopic::WhiteSpace),
            ("a.*", BadTopic::Wildcard),
            ("a>", BadTopic::Wildcard),
        ] {
            assert_eq!(Topic::new(text), Err(why), "{text:?}");
        }
        assert_eq!(Topic::new(&"a".repeat(255)).map(|_| ()), Ok(()));
        assert_eq!(Topic::new(&"ä".repeat(128)), Err(BadTopic::TooLong(256)));
    }

    #[test]
    fn wildcards_are_whole_tokens_of_filters() {
        for text in ["a", "*", ">", "a.*", "*.b", "a.>", "*.>", "a.*.c"] {
            assert!(Filters::new([text]).is_ok(), "{text:?}");
        }
        for (text, why) in [
            ("a*", BadTopic::PartialWildcard('*')),
            ("a.b>", BadTopic::PartialWildcard('>')),
            ("**", BadTopic::PartialWildcard('*')),
            (">.a", BadTopic::RestNotLast),
            ("a.", BadTopic::EmptyToken),
        ] {
            assert_eq!(Filters::new(["x", text]), Err(why), "{text:?}");
        }
        assert_eq!(Filters::new([]), Err(BadTopic::NoFilter));
    }

    #[test]
    fn filters_match_token_by_token() {
        for (filter, topic, does) in [
            ("a.b", "a.b", true),
            ("a.b", "a.B", false),
            ("a.b", "a", false),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            (">", "a.b.c", true),
            ("*.>", "a", false),
            ("*.>", "a.b", true),
        ] {
            assert_eq!(Filters::new([filter]).unwrap().match_topic(topic), does, "{filter} {topic}");
        }
    }
}
