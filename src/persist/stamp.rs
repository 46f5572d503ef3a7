//! What stands above what kvmtune wrote: of which commit it is, why, and how it is taken back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest line of evidence in a file, in characters.
const MAX_LINE: usize = 200;

/// Names a commit on one host: they are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub u32);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for CommitId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err("a commit is named by its number, as `kvmtune status` shows it".into()),
        }
    }
}

/// Of which commit something is, and what speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The commit.
    pub commit: CommitId,
    /// The run that proves it, as tables show it.
    pub run: String,
    /// Name of its experiment.
    pub experiment: String,
    /// When it was committed.
    pub at: Timestamp,
    /// Plain lines.
    pub evidence: Vec<String>,
    /// When it is taken back unless somebody keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

impl Stamp {
    /// The stamp as plain lines, without a mark of comments. None has a character that ends a line.
    pub fn lines(&self) -> Vec<String> {
        let head = format!(
            "commit {} of {:.0}: run {}, experiment {}",
            self.commit, self.at, self.run, self.experiment
        );
        let evidence = self.evidence.iter().map(|line| format!("  {line}"));
        let back = format!("take it back with: kvmtune revert {}", self.commit);
        std::iter::once(head)
            .chain(evidence)
            .chain([back])
            .map(|line| one_line(&line))
            .collect()
    }
}

/// A text that stays one line and a comment, whatever is in it.
fn one_line(text: &str) -> String {
    let tame = |c: char| {
        if c.is_control() || "\u{2028}\u{2029}\\".contains(c) {
            ' '
        } else {
            c
        }
    };
    text.chars().map(tame).take(MAX_LINE).collect()
}
