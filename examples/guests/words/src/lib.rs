//! Counts the words of a text in pieces: the two halves of a map-reduce.

use std::collections::BTreeMap;

use lovage_guest::{data, task};

type Counts = BTreeMap<String, u64>;

/// What a text is made of.
#[data]
struct Summary {
    words: u64,
    distinct: usize,
    /// The most frequent words and how often they are there; equals by the alphabet.
    top: Vec<(String, u64)>,
}

/// The lines of a text.
#[task]
fn lines(text: String) -> Vec<String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Counts the words of some lines: a list of one count, since what takes a chunk gives a list back.
#[task]
fn count(lines: Vec<String>) -> [Counts; 1] {
    let mut counts = Counts::new();
    for word in lines.iter().flat_map(|line| line.split(|c: char| !c.is_alphabetic() && c != '\'')) {
        let word = word.trim_matches('\'').to_lowercase();
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    [counts]
}

/// Adds counts up.
#[task]
fn merge(counts: Vec<Counts>, top: usize) -> Summary {
    let mut all = Counts::new();
    for (word, count) in counts.into_iter().flatten() {
        *all.entry(word).or_default() += count;
    }
    let (words, distinct) = (all.values().sum(), all.len());
    let mut ranked: Vec<_> = all.into_iter().collect();
    // The sort is stable, so the alphabet decides between equals.
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked.truncate(top);
    Summary { words, distinct, top: ranked }
}

lovage_guest::export!(lines, count, merge);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_to_the_whole() {
        let text: Vec<String> = lines("The cat's hat.\n\nThe 'other' cat?\n".to_owned());
        assert_eq!(text.len(), 2);
        let parts = text.chunks(1).flat_map(|chunk| count(chunk.to_vec())).collect();
        let summary = merge(parts, 2);
        assert_eq!((summary.words, summary.distinct), (6, 5));
        assert_eq!(summary.top, [("the".to_owned(), 2), ("cat".to_owned(), 1)]);
    }
}
