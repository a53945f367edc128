//! The compiled patterns of a channel's secrets, and the search for them in one text.

use std::ops::Range;

use zeroize::Zeroizing;

use super::REDACTED;
use super::encodings::add_patterns;
use crate::secrets::Secret;

/// The values of a channel's secrets in all their encodings. Erased when it is dropped.
pub(in crate::egress) struct SecretMatcher {
    names: Vec<String>,
    patterns: Vec<Pattern>,
    pairs: Pairs,
    /// For exact, case-blind and short patterns.
    indexes: [Index; 3],
}

struct Pattern {
    bytes: Zeroizing<Vec<u8>>,
    secret: usize,
    kind: PatternKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternKind {
    Exact,
    /// Hexadecimal: letters in either case.
    CaseBlind,
    /// At least four bytes, as a word of its own.
    Word,
}

impl PatternKind {
    const ALL: [Self; 3] = [Self::Exact, Self::CaseBlind, Self::Word];

    /// The key under which a pattern or a place in a text is looked up.
    fn key(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::Exact => Some(u64::from_le_bytes(*bytes.first_chunk()?)),
            // Setting this bit makes letters small and leaves digits alone.
            Self::CaseBlind => Some(u64::from_le_bytes(*bytes.first_chunk()?) | 0x2020_2020_2020_2020),
            Self::Word => Some(u64::from(u32::from_le_bytes(*bytes.first_chunk()?))),
        }
    }
}

/// The pairs of bytes with which patterns begin, a bit for each possible one.
struct Pairs(Vec<u64>);

impl Pairs {
    fn new(patterns: &[Pattern]) -> Self {
        let mut bits = vec![0; 1 << 10];
        for pattern in patterns {
            let [first, second] = [pattern.bytes[0], pattern.bytes[1]];
            let cases = |byte: u8| match pattern.kind {
                PatternKind::CaseBlind => [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()],
                PatternKind::Exact | PatternKind::Word => [byte, byte],
            };
            for a in cases(first) {
                for b in cases(second) {
                    let pair = usize::from(u16::from_be_bytes([a, b]));
                    bits[pair >> 6] |= 1 << (pair & 63);
                }
            }
        }
        Self(bits)
    }

    /// The first place, from `from` on, where a pattern may begin.
    fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        let mut pair = usize::from(*text.get(at)?);
        while at + 1 < text.len() {
            pair = (pair << 8 | text[at + 1] as usize) & 0xffff;
            if self.0[pair >> 6] >> (pair & 63) & 1 == 1 {
                return Some(at);
            }
            at += 1;
        }
        None
    }
}

/// Patterns by their beginning, sorted.
#[derive(Default)]
struct Index(Vec<(u64, usize)>);

impl Index {
    fn candidates(&self, key: u64) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|(k, _)| *k < key);
        self.0[from..].iter().take_while(move |(k, _)| *k == key).map(|(_, pattern)| *pattern)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // The keys are the beginnings of secrets.
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A secret in a text.
struct FoundSecret {
    pattern: usize,
    length: usize,
}

impl SecretMatcher {
    /// A matcher for these secrets, with their names.
    pub(in crate::egress) fn new(secrets: impl IntoIterator<Item = (String, Secret)>) -> Self {
        let mut names = Vec::new();
        let mut patterns: Vec<Pattern> = Vec::new();
        for (name, value) in secrets {
            let mut add = |bytes: Vec<u8>, kind: PatternKind| {
                let bytes = Zeroizing::new(bytes);
                let known = patterns.iter().any(|other| other.kind == kind && other.bytes == bytes);
                if !known {
                    patterns.push(Pattern { bytes, secret: names.len(), kind });
                }
            };
            add_patterns(value.expose(), &mut add);
            names.push(name);
        }
        let indexes = PatternKind::ALL.map(|kind| {
            let of_kind = patterns.iter().enumerate().filter(|(_, pattern)| pattern.kind == kind);
            let mut keys: Vec<(u64, usize)> =
                of_kind.filter_map(|(at, pattern)| Some((kind.key(&pattern.bytes)?, at))).collect();
            keys.sort_unstable();
            Index(keys)
        });
        Self { names, pairs: Pairs::new(&patterns), patterns, indexes }
    }

    /// The name of a secret whose value stands in the text.
    pub(super) fn find(&self, text: &[u8]) -> Option<&str> {
        let (_, found) = self.next(text, 0)?;
        Some(self.names[self.patterns[found.pattern].secret].as_str())
    }

    /// The name of a secret whose value stands in a short text, whatever the case of its letters.
    pub(super) fn find_in_any_case(&self, text: &[u8]) -> Option<&str> {
        let is_letter_or_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
        let stands = |Pattern { bytes, kind, .. }: &Pattern| {
            text.windows(bytes.len()).enumerate().any(|(at, part)| {
                let in_word = at > 0 && is_letter_or_digit(at - 1) || is_letter_or_digit(at + bytes.len());
                part.eq_ignore_ascii_case(bytes) && (*kind != PatternKind::Word || !in_word)
            })
        };
        let pattern = self.patterns.iter().find(|pattern| stands(pattern))?;
        Some(self.names[pattern.secret].as_str())
    }

    /// The text with every secret replaced by [`REDACTED`], or the same text when there is none.
    pub(in crate::egress) fn redact(&self, text: Vec<u8>) -> (Vec<u8>, bool) {
        let mut out: Vec<u8> = Vec::new();
        let mut copied = 0;
        while let Some((at, found)) = self.next(&text, copied) {
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(REDACTED.as_bytes());
            copied = at + found.length;
        }
        if copied == 0 {
            return (text, false);
        }
        out.extend_from_slice(&text[copied..]);
        drop(Zeroizing::new(text));
        (out, true)
    }

    /// Where secrets stand in the text, each place once, with the secret's name.
    pub(super) fn places<'m>(&'m self, text: &'m [u8]) -> impl Iterator<Item = (Range<usize>, &'m str)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (at, found) = self.next(text, from)?;
            from = at + found.length;
            Some((at..from, self.names[self.patterns[found.pattern].secret].as_str()))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The first secret from `from` on, and where it begins.
    fn next(&self, text: &[u8], from: usize) -> Option<(usize, FoundSecret)> {
        let mut from = from;
        while let Some(at) = self.pairs.next(text, from) {
            if let Some(found) = self.at(text, at) {
                return Some((at, found));
            }
            from = at + 1;
        }
        None
    }

    /// The longest pattern that begins exactly here.
    fn at(&self, text: &[u8], at: usize) -> Option<FoundSecret> {
        let rest = &text[at..];
        let mut longest: Option<FoundSecret> = None;
        for (kind, index) in PatternKind::ALL.into_iter().zip(&self.indexes) {
            let Some(key) = kind.key(rest) else { continue };
            for pattern in index.candidates(key) {
                let length = self.patterns[pattern].bytes.len();
                if longest.as_ref().is_none_or(|found| found.length < length)
                    && self.stands(pattern, text, at)
                {
                    longest = Some(FoundSecret { pattern, length });
                }
            }
        }
        longest
    }

    fn stands(&self, pattern: usize, text: &[u8], at: usize) -> bool {
        let Pattern { bytes, kind, .. } = &self.patterns[pattern];
        let Some(part) = text.get(at..at + bytes.len()) else { return false };
        let in_word =
            |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        match kind {
            PatternKind::Exact => part == bytes.as_slice(),
            PatternKind::CaseBlind => part.eq_ignore_ascii_case(bytes),
            PatternKind::Word => {
                part == bytes.as_slice() && !in_word(at.checked_sub(1)) && !in_word(Some(at + bytes.len()))
            }
        }
    }
}
