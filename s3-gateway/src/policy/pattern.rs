//! Wildcards: `*` stands for any characters or none, `?` for one.

/// The longest name of a resource has some 1100 bytes.
const MAX_PATTERN: usize = 2048;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<char>);

impl Pattern {
    /// None if it is too long to be meant.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (text.len() <= MAX_PATTERN).then(|| Self(text.chars().collect()))
    }

    /// Of any case.
    pub(crate) fn caseless(text: &str) -> Option<Self> {
        Self::new(&text.to_ascii_lowercase())
    }

    /// Whether the whole of `text` fits. The last `*` takes one character more whenever what follows it does not fit, which
    /// finds a fit if there is one: what an earlier `*` takes does not matter any more then.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut read) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while read < text.len() {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(letter) if *letter == '?' || *letter == text[read] => {
                    at += 1;
                    read += 1;
                }
                Some(_) | None => {
                    let Some((star_at, taken)) = star else { return false };
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    read = taken + 1;
                }
            }
        }
        self.0[at..].iter().all(|letter| *letter == '*')
    }

    /// What is in front of the first wildcard, and whether there is one.
    pub(crate) fn head(&self) -> (String, bool) {
        let head: String = self.0.iter().take_while(|letter| !matches!(letter, '*' | '?')).collect();
        let is_whole = head.chars().count() == self.0.len();
        (head, !is_whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slow and obvious.
    fn fits(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| fits(rest, &text[taken..])),
            Some((letter, rest)) => {
                text.split_first().is_some_and(|(first, left)| (*letter == '?' || letter == first) && fits(rest, left))
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_its_definition_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let fast = Pattern(pattern.clone()).matches(&text.iter().collect::<String>());
            prop_assert_eq!(fast, fits(&pattern, &text));
        }
    }

    #[test]
    fn patterns_have_a_limit_and_a_head() {
        assert_eq!(Pattern::new(&"*".repeat(MAX_PATTERN + 1)), None);
        assert_eq!(Pattern::new("b/a*c").expect("short").head(), ("b/a".to_owned(), true));
        assert_eq!(Pattern::new("b").expect("short").head(), ("b".to_owned(), false));
    }
}
