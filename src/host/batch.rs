//! Many small files of the guest in one command: a command costs some 50 ms in emulation, however little it does.
//!
//! The scripts are fixed; paths and values are arguments. Does not know what the files mean.

use super::transport::Transport;
use super::{HostError, MAX_SETTING, TOO_LONG, guest_job};
use std::time::Duration;

/// Fewer files are faster by the agent's own file commands.
pub(super) const WORTH_IT: usize = 4;
/// Files in one command: their arguments stay far below what the agent takes.
const AT_ONCE: usize = 64;
const LIMIT: Duration = Duration::from_secs(20);

/// Takes how many bytes of a file are read and how many values follow. Writes these, each into the file before it and in
/// one write(2), an empty one as a line end: of nothing there is no write(2). Then reads the files that follow.
/// Prints for each `CODE LENGTH`, then what was read or said. `$(…)` drops line ends, as is wanted.
const SCRIPT: &str = r#"
LC_ALL=C
most=$1
shift
none='
'
writes=$1
shift
while [ "$writes" -gt 0 ]; do
    text=$( { printf '%s' "${2:-$none}" > "$1"; } 2>&1 )
    echo "$? ${#text}"
    printf '%s\n' "$text"
    shift 2
    writes=$((writes - 1))
done
for file; do
    text=$(head -c "$most" -- "$file" 2>&1)
    echo "$? ${#text}"
    printf '%s\n' "$text"
done
"#;

/// What became of writes, and what files hold after them.
pub(super) struct Exchanged {
    pub(super) written: Vec<Result<(), HostError>>,
    pub(super) read: Vec<Result<String, HostError>>,
}

/// Writes values into files, in this order, then reads files.
pub(super) fn exchange(transport: &Transport, writes: &[(&str, &str)], reads: &[&str]) -> Exchanged {
    let mut done = Exchanged {
        written: Vec::new(),
        read: Vec::new(),
    };
    if writes.len() + reads.len() <= AT_ONCE {
        once(transport, writes, reads, &mut done);
        return done;
    }
    for chunk in writes.chunks(AT_ONCE) {
        once(transport, chunk, &[], &mut done);
    }
    for chunk in reads.chunks(AT_ONCE) {
        once(transport, &[], chunk, &mut done);
    }
    done
}

fn once(transport: &Transport, writes: &[(&str, &str)], reads: &[&str], done: &mut Exchanged) {
    let doing: Vec<_> = writes
        .iter()
        .map(|(path, value)| format!("write `{value}` to guest:{path}"))
        .chain(reads.iter().map(|path| format!("read guest:{path}")))
        .collect();
    let (most, count) = ((MAX_SETTING + 1).to_string(), writes.len().to_string());
    let mut argv = vec!["/bin/sh", "-c", SCRIPT, "kvmtune", &most, &count];
    argv.extend(writes.iter().flat_map(|(path, value)| [*path, *value]));
    argv.extend(reads);
    let mut results = match transport.exec(&argv, None, LIMIT) {
        Ok(output) => told(&output.stdout, doing),
        Err(error) => {
            let failed = |doing| Err(guest_job::failed(doing, &error));
            doing.into_iter().map(failed).collect()
        }
    }
    .into_iter();
    done.written
        .extend(results.by_ref().take(writes.len()).map(|result| result.map(drop)));
    done.read.extend(results);
}

/// The script's answers, one for each thing that was done.
fn told(output: &[u8], doing: Vec<String>) -> Vec<Result<String, HostError>> {
    let Some(answers) = take_apart(output, doing.len()) else {
        let failed = |doing| {
            Err(HostError::new(
                doing,
                "the guest's answer is not what was asked for",
            ))
        };
        return doing.into_iter().map(failed).collect();
    };
    let result = |(doing, answer): (String, Answer)| match answer {
        Ok(text) if text.len() > MAX_SETTING => Err(HostError::new(doing, TOO_LONG)),
        Ok(text) => Ok(text),
        Err(said) => Err(HostError::new(doing, reason(&said))),
    };
    doing.into_iter().zip(answers).map(result).collect()
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
        let arguments = [vec!["65537", "3"], arguments, vec![plain.as_str(), &none, &lines]].concat();
        let mut all = take_apart(&sh(SCRIPT, &arguments), 6).unwrap();
        let read = all.split_off(3);
        assert!(all[0].is_ok() && all[1].is_ok() && all[2].is_err(), "{all:?}");
        assert_eq!(read[0].as_deref(), Ok("$(id) 'a' \"b\""));
        assert_eq!(reason(read[1].as_ref().unwrap_err()), "No such file or directory");
        assert_eq!(read[2].as_deref(), Ok("1\n0 3\nabc"));
    }

    #[test]
    fn what_is_too_long_is_no_setting() {
        let read = |length: usize| {
            let answer = format!("0 {length}\n{}\n", "x".repeat(length));
            told(answer.as_bytes(), vec!["read it".into()]).remove(0)
        };
        assert_eq!(read(MAX_SETTING).unwrap().len(), MAX_SETTING);
        assert!(read(MAX_SETTING + 1).unwrap_err().to_string().contains(TOO_LONG));
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
