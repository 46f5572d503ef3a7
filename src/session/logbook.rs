//! What a watchman did, in a file beside the journal, and the one piece of news in it.
//!
//! Knows lines with a time; a log that cannot be written is no reason not to restore a host.

use crate::change::open_private;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Beyond this the older half is dropped.
const LIMIT: u64 = 64 << 10;
/// An entry of the journal can be long.
const LINE: usize = 2000;

/// The word of a line that the next verb tells its user.
const NEWS: &str = "news: ";

/// The watchman's log.
#[derive(Debug, Clone)]
pub struct Logbook(PathBuf);

impl Logbook {
    /// The one of this folder; nothing is made yet.
    pub fn of(state: &Path) -> Self {
        Self(state.join("watchman.log"))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Adds a line, in a folder that exists.
    pub(super) fn note(&self, text: &str) {
        let _ = self.write(text);
    }

    /// Adds a line that the next verb tells its user, with the time at its end.
    pub fn announce(&self, text: &str) {
        self.note(&format!("{NEWS}{text} at {}", now()));
    }

    /// What was announced last, unless it was told already.
    pub fn news(&self) -> Option<String> {
        let mut file = File::open(&self.0).ok()?;
        let tail = tail(&mut file, 2 * LINE as u64).ok()?;
        let last = tail.lines().last()?;
        let (_, text) = last.split_once(' ')?;
        let news = text.strip_prefix(NEWS)?.to_string();
        self.note("told");
        Some(news)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = open_private(&self.0)?;
        if file.metadata()?.len() > LIMIT {
            let kept = tail(&mut file, LIMIT / 2)?;
            file.set_len(0)?;
            file.write_all(kept.as_bytes())?;
        }
        let tamed: String = text
            .chars()
            .take(LINE)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        file.write_all(format!("{} {tamed}\n", now()).as_bytes())
    }
}

fn now() -> Timestamp {
    let now = Timestamp::now();
    let whole = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    now.round(whole).unwrap_or(now)
}

/// The last whole lines within `most` bytes.
fn tail(file: &mut File, most: u64) -> io::Result<String> {
    let skipped = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, whole)) if skipped > 0 => whole.to_string(),
        _ => text,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn news_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = Logbook::of(folder.path());
        assert_eq!(log.news(), None);
        assert!(!log.path().exists(), "asking makes no file");
        log.note("something");
        assert_eq!(log.news(), None);
        log.announce("it was\nrestored");
        let told = log.news().unwrap();
        assert!(told.starts_with("it was restored at 20"), "{told}");
        assert_eq!(log.news(), None);
        let mode = fs::metadata(log.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = Logbook::of(folder.path());
        for i in 0..200 {
            log.note(&format!("{i} {}", "x".repeat(3000)));
        }
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.len() as u64 <= LIMIT + 2 * LINE as u64, "{}", text.len());
        assert!(text.lines().all(|l| l.starts_with("20")), "whole lines only");
        assert!(text.lines().last().unwrap().contains(" 199 "));
    }

    #[test]
    fn a_folder_that_is_gone_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = Logbook::of(&folder.path().join("gone"));
        log.note("something");
        assert!(!folder.path().join("gone").exists());
    }
}
