//! Recorded editing histories, as lists of edits of several authors.
//!
//! The files in `traces/` are excerpts of a public collection; each names its source and its license, and describes
//! its format.

/// The recorded histories.
const TRACES: [&str; 2] =
    [include_str!("traces/clownschool.txt"), include_str!("traces/sveltecomponent.txt")];

/// A history of one author is cut into turns of so many edits, which different nodes take.
const TURN: usize = 32;

/// One edit of a recorded history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RecordedEdit {
    /// The number of the author, from 0.
    pub(super) author: usize,
    /// The position in characters at which the edit begins.
    pub(super) at: usize,
    /// The number of characters that it deletes from there on.
    pub(super) deleted: usize,
    /// The text that it inserts there.
    pub(super) inserted: String,
}

/// The edits of the history of this number, in order. Numbers beyond the last start again from the first.
pub(super) fn edits(number: usize) -> Vec<RecordedEdit> {
    let trace = TRACES[number % TRACES.len()];
    let mut edits = Vec::new();
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        read(line, &mut edits).unwrap_or_else(|| panic!("no line of a trace: {line:?}"));
    }
    if edits.iter().all(|edit| edit.author == 0) {
        edits.iter_mut().enumerate().for_each(|(at, edit)| edit.author = at / TURN);
    }
    edits
}

/// Reads one line; `None` if it has no meaning.
fn read(line: &str, edits: &mut Vec<RecordedEdit>) -> Option<()> {
    let author = usize::from(line.bytes().next()?.checked_sub(b'a')?);
    let rest = line.get(1..)?;
    let sign = rest.find(['+', '-', '~'])?;
    let at: usize = rest.get(..sign)?.parse().ok()?;
    let what = rest.get(sign + 1..)?;
    match rest.as_bytes()[sign] {
        b'+' => {
            for (typed, letter) in unescaped(what).chars().enumerate() {
                edits.push(RecordedEdit { author, at: at + typed, deleted: 0, inserted: letter.to_string() });
            }
        }
        b'-' => {
            for deleted in 0..what.parse().ok()? {
                let at = at.checked_sub(deleted)?;
                edits.push(RecordedEdit { author, at, deleted: 1, inserted: String::new() });
            }
        }
        _ => {
            let (deleted, text) = what.split_once(',')?;
            edits.push(RecordedEdit {
                author,
                at,
                deleted: deleted.parse().ok()?,
                inserted: unescaped(text),
            });
        }
    }
    Some(())
}

fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => letter,
            },
            letter => letter,
        });
    }
    plain
}

/// `size` bytes of prose: what a history inserts, over and over. All of it is ASCII.
pub(super) fn prose(number: usize, size: usize) -> String {
    let edits = edits(number);
    let letters: String = edits.iter().map(|edit| edit.inserted.as_str()).collect();
    letters.chars().cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text after all edits of a history.
    fn replayed(number: usize) -> Vec<char> {
        let mut text = Vec::new();
        for RecordedEdit { at, deleted, inserted, .. } in edits(number) {
            text.splice(at..at + deleted, inserted.chars());
        }
        text
    }

    /// The length and a weighted sum of the text, computed where the excerpts were cut.
    #[test]
    fn excerpts_replay_to_recorded_text() {
        let sum = |text: &[char]| {
            let weighted = text.iter().zip(1u64..).map(|(letter, at)| u64::from(u32::from(*letter)) * at);
            weighted.sum::<u64>() % 1_000_000_007
        };
        let found = [replayed(0), replayed(1)].map(|text| (text.len(), sum(&text)));
        assert_eq!(found, [(2_763, 333_019_951), (1_999, 158_907_036)]);
        assert_eq!((edits(0).len(), edits(1).len()), (3_000, 1_500));
    }

    #[test]
    fn every_history_has_several_authors() {
        for number in 0..TRACES.len() {
            let edits = edits(number);
            assert!(edits.iter().any(|edit| edit.author == 0) && edits.iter().any(|edit| edit.author == 1));
        }
        assert_eq!(prose(0, 10_000).len(), 10_000);
    }
}
