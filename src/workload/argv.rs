//! Placeholders in arguments: found, checked and replaced argument by argument, never through a shell.

use crate::host::{JOB_FOLDER, RESULT_FILE, SERIES_FILE};

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    /// Measured time in whole seconds.
    Time,
    /// Discarded time before it in whole seconds.
    Warmup,
    /// The device or file that disk workloads may overwrite.
    Scratch,
    /// The result file of the job.
    Result,
    /// Where the job's series begins: tools add to the name.
    Series,
    /// The folder of the job's own.
    Job,
    /// The guest's address.
    GuestAddress,
    /// The host's address.
    HostAddress,
    /// The first neighbour's address.
    NeighbourAddress,
}

/// Every placeholder by its name.
pub(super) const HOLES: [(&str, Hole); 9] = [
    ("time", Hole::Time),
    ("warmup", Hole::Warmup),
    ("scratch", Hole::Scratch),
    ("result", Hole::Result),
    ("series", Hole::Series),
    ("job", Hole::Job),
    ("guest-address", Hole::GuestAddress),
    ("host-address", Hole::HostAddress),
    ("neighbour-address", Hole::NeighbourAddress),
];

/// A part of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it is.
    Text(&'a str),
    /// Something to be put in.
    Hole(Hole),
}

/// The pieces of an argument; `Err` holds the text in braces that is no placeholder.
pub(super) fn pieces(argument: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut found = Vec::new();
    let mut rest = argument;
    while let Some((text, tail)) = rest.split_once('{') {
        let (name, after) = tail.split_once('}').ok_or(tail)?;
        let hole = HOLES.iter().find(|(known, _)| *known == name);
        let (_, hole) = hole.ok_or(name)?;
        found.push(Piece::Text(text));
        found.push(Piece::Hole(*hole));
        rest = after;
    }
    found.push(Piece::Text(rest));
    Ok(found)
}

/// True when an argument holds `hole`.
pub(super) fn uses(argv: &[String], hole: Hole) -> bool {
    argv.iter()
        .any(|argument| pieces(argument).is_ok_and(|found| found.contains(&Piece::Hole(hole))))
}

/// The arguments with `value` put into the holes, each once: what is put in is not searched again. An argument
/// that was never checked and has unknown braces stays as it is.
pub(super) fn fill(argv: &[String], value: impl Fn(Hole) -> String) -> Vec<String> {
    let fill_one = |argument: &String| match pieces(argument) {
        Err(_) => argument.clone(),
        Ok(found) => found
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.to_string(),
                Piece::Hole(Hole::Result) => RESULT_FILE.to_string(),
                Piece::Hole(Hole::Series) => SERIES_FILE.to_string(),
                Piece::Hole(Hole::Job) => JOB_FOLDER.to_string(),
                Piece::Hole(hole) => value(hole),
            })
            .collect(),
    };
    argv.iter().map(fill_one).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_once() {
        let argv = ["-f={scratch}:{time}s".to_string(), "{result}{series}".into()];
        let filled = fill(&argv, |hole| match hole {
            Hole::Scratch => "/x/{time}".into(),
            _ => "5".into(),
        });
        assert_eq!(filled, ["-f=/x/{time}:5s", "{result}{series}"]);
    }

    #[test]
    fn unknown_braces_are_named() {
        assert_eq!(pieces("{tmie}"), Err("tmie"));
        assert_eq!(pieces("a{time"), Err("time"));
        assert_eq!(pieces("{{time}}"), Err("{time"));
        assert!(pieces("a}b").is_ok());
    }
}
