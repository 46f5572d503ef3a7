//! Many small files of the guest in one command: a command costs some 50 ms in emulation, however little it does.
//!
//! The scripts are fixed; paths and values are arguments. Does not know what the files mean.

use super::transport::Transport;
use super::{HostError, guest_job};
use std::time::Duration;

/// Fewer files are faster by the agent's own file commands.
pub(super) const WORTH_IT: usize = 4;
/// Files in one command: their arguments stay far below what the agent takes.
const AT_ONCE: usize = 64;
const LIMIT: Duration = Duration::from_secs(20);

/// Prints for each file `CODE LENGTH`, then what was read, or why not. `$(…)` drops line ends, as is wanted.
const READ: &str = r#"
LC_ALL=C
for file; do
    text=$(head -c 65537 -- "$file" 2>&1)
    echo "$? ${#text}"
    printf '%s\n' "$text"
done
"#;

/// Writes each value into the file before it, in one write(2), and prints the same for what was said.
const WRITE: &str = r#"
LC_ALL=C
while [ $# -ge 2 ]; do
    text=$( { printf '%s' "$2" > "$1"; } 2>&1 )
    echo "$? ${#text}"
    printf '%s\n' "$text"
    shift 2
done
"#;

/// What each file holds.
pub(super) fn read(transport: &Transport, paths: &[&str]) -> Vec<Result<String, HostError>> {
    let mut results = Vec::new();
    for chunk in paths.chunks(AT_ONCE) {
        let doing = |path: &&str| format!("read guest:{path}");
        results.extend(run(transport, READ, chunk, chunk, doing));
    }
    results
}

/// Writes values into files, in this order.
pub(super) fn write(transport: &Transport, writes: &[(&str, &str)]) -> Vec<Result<(), HostError>> {
    let mut results = Vec::new();
    for chunk in writes.chunks(AT_ONCE) {
        let arguments: Vec<_> = chunk.iter().flat_map(|(path, value)| [*path, *value]).collect();
        let doing = |(path, value): &(&str, &str)| format!("write `{value}` to guest:{path}");
        let done = run(transport, WRITE, &arguments, chunk, doing);
        results.extend(done.into_iter().map(|result| result.map(drop)));
    }
    results
}

/// Runs a script on arguments, and takes its output apart: one answer for each of `items`.
fn run<I>(
    transport: &Transport,
    script: &str,
    arguments: &[&str],
    items: &[I],
    doing: impl Fn(&I) -> String,
) -> Vec<Result<String, HostError>> {
    let mut argv = vec!["/bin/sh", "-c", script, "kvmtune"];
    argv.extend(arguments);
    let answers = match transport.exec(&argv, None, LIMIT) {
        Ok(done) => take_apart(&done.stdout, items.len()),
        Err(error) => {
            let failed = |item| Err(guest_job::failed(doing(item), &error));
            return items.iter().map(failed).collect();
        }
    };
    let Some(answers) = answers else {
        let failed = |item| {
            Err(HostError::new(
                doing(item),
                "the guest's answer is not what was asked for",
            ))
        };
        return items.iter().map(failed).collect();
    };
    let told = |(item, answer): (&I, Answer)| match answer {
        Ok(text) => Ok(text),
        Err(said) => Err(HostError::new(doing(item), reason(&said))),
    };
    items.iter().zip(answers).map(told).collect()
}

/// A text, or what a failed command said.
type Answer = Result<String, String>;

fn take_apart(output: &[u8], count: usize) -> Option<Vec<Answer>> {
    let mut rest = output;
    let mut answers = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        let (code, length) = head.split_once(' ')?;
        let (code, length): (u8, usize) = (code.parse().ok()?, length.parse().ok()?);
        let body = rest.get(end + 1..)?;
        let text = String::from_utf8_lossy(body.get(..length)?).into_owned();
        rest = body.get(length..)?.strip_prefix(b"\n")?;
        answers.push(if code == 0 { Ok(text) } else { Err(text) });
    }
    rest.is_empty().then_some(answers)
}

/// The last part of `sh: 1: printf: Invalid argument`, tamed.
fn reason(said: &str) -> String {
    let last = said
        .lines()
        .next()
        .unwrap_or_default()
        .rsplit(": ")
        .next()
        .unwrap_or_default();
    let tamed: String = last.chars().take(100).flat_map(char::escape_debug).collect();
    if tamed.is_empty() {
        "it failed without a word".into()
    } else {
        tamed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::process::Command;

    fn sh(script: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "kvmtune"]).args(arguments);
        command.output().unwrap().stdout
    }

    #[test]
    fn files_come_back_whole_and_failures_with_their_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (plain, lines, none) = (path("plain"), path("0 5\nx"), path("none"));
        let values = [
            (plain.as_str(), "$(id) 'a' \"b\""),
            (lines.as_str(), "1\n0 3\nabc"),
            ("/proc/version", "x"),
        ];
        let arguments: Vec<_> = values.iter().flat_map(|(path, value)| [*path, *value]).collect();
        let written = take_apart(&sh(WRITE, &arguments), 3).unwrap();
        assert!(
            written[0].is_ok() && written[1].is_ok() && written[2].is_err(),
            "{written:?}"
        );
        let read = take_apart(&sh(READ, &[&plain, &none, &lines]), 3).unwrap();
        assert_eq!(read[0].as_deref(), Ok("$(id) 'a' \"b\""));
        assert_eq!(reason(read[1].as_ref().unwrap_err()), "No such file or directory");
        assert_eq!(read[2].as_deref(), Ok("1\n0 3\nabc"));
    }

    #[test]
    fn an_answer_of_another_shape_is_no_answer() {
        for bad in [
            "",
            "0 3\nab",
            "0 2\nab",
            "0 2\nab\nmore",
            "x 2\nab\n",
            "0 99999999999\nab\n",
            "0 1\nab\n",
            "256 0\n\n",
        ] {
            assert_eq!(take_apart(bad.as_bytes(), 1), None, "{bad:?}");
        }
        assert_eq!(take_apart(b"0 2\nab\n", 1).unwrap(), [Ok("ab".to_string())]);
        assert_eq!(take_apart(b"1 0\n\n", 1).unwrap(), [Err(String::new())]);
    }
}
