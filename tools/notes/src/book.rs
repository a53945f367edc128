//! The notes of one person. No I/O.

use serde::{Deserialize, Serialize};

/// Notes of one person.
pub const MAX_NOTES: usize = 1000;
/// Bytes of one note.
pub const MAX_TEXT_BYTES: usize = 4000;

/// All notes, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub struct Book {
    /// The highest number that a note had.
    pub next: u64,
    pub notes: Vec<Note>,
}

#[derive(Serialize, Deserialize)]
pub struct Note {
    pub id: u64,
    pub at_ms: u64,
    pub text: String,
}

impl Book {
    /// Adds a note and returns its number.
    ///
    /// # Errors
    /// The text is empty or too long, or there are too many notes.
    pub fn add(&mut self, text: &str, now_ms: u64) -> Result<u64, String> {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Err(format!("`add` needs a `text` of 1 to {MAX_TEXT_BYTES} bytes"));
        }
        if self.notes.len() >= MAX_NOTES {
            return Err(format!("there are {MAX_NOTES} notes already: remove one first"));
        }
        self.next += 1;
        self.notes.push(Note { id: self.next, at_ms: now_ms, text: text.to_owned() });
        Ok(self.next)
    }

    /// Removes a note and returns its text.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn remove(&mut self, id: u64) -> Result<String, String> {
        let at = self.notes.iter().position(|note| note.id == id);
        let at = at.ok_or_else(|| format!("there is no note {id}"))?;
        Ok(self.notes.remove(at).text)
    }

    /// All notes, the newest first.
    pub fn newest(&self) -> Vec<&Note> {
        self.notes.iter().rev().collect()
    }

    /// The notes in which at least one word begins with one of `words`: those with more of them first, then the newest.
    pub fn found(&self, words: &str) -> Vec<&Note> {
        let wanted = words_of(words);
        let mut found: Vec<(usize, &Note)> = self
            .notes
            .iter()
            .rev()
            .map(|note| (hits(&words_of(&note.text), &wanted), note))
            .filter(|(hits, _)| *hits > 0)
            .collect();
        found.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        found.into_iter().map(|(_, note)| note).collect()
    }
}

/// How many of the wanted words there are.
fn hits(words: &[String], wanted: &[String]) -> usize {
    wanted.iter().filter(|wanted| words.iter().any(|word| word.starts_with(wanted.as_str()))).count()
}

/// The words of a text in lower case.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_with_more_of_the_words_come_first_and_then_the_newest() {
        let mut book = Book::default();
        for text in ["Tea with Ann", "tea at noon", "Ann's birthday: 3 May", "coffee", "ÄRZTIN am Montag"] {
            book.add(text, 0).unwrap();
        }
        let found = |words: &str| book.found(words).iter().map(|note| note.id).collect::<Vec<_>>();
        assert_eq!(found("tea ann"), [1, 3, 2]);
        assert_eq!(found("TEA"), [2, 1]);
        assert_eq!(found("birth may"), [3]);
        assert_eq!(found("ärzt"), [5]);
        assert_eq!(found("ea"), [0u64; 0], "words are found by their beginning");
        assert_eq!(found("?!"), [0u64; 0]);
    }
}
