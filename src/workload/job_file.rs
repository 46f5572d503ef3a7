//! fio's job files as they are: looked over, and the command line that runs one.
//!
//! Pure: gets texts, never opens a file. Does not know fio's options, but for what would make a run something else.

use crate::decode::{Field, is_name};
use crate::diagnostic::one_line;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest job file, in bytes.
pub const MAX_JOB_FILE: usize = 64 * 1024;

/// A file that is put into a job's folder before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    /// Its name there: a plain one.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Job files by name, or why one cannot be taken.
pub type JobFiles = BTreeMap<String, Result<String, String>>;

/// What stands for a workload's places and times in a job file: variables of the environment, which fio puts in.
const VARIABLES: [(&str, &str); 3] = [
    ("SCRATCH", "{scratch}"),
    ("TIME", "{time}"),
    ("WARMUP", "{warmup}"),
];

/// What the measured command of a job file is given beside it: numbers, and one sample a second.
const MEASURED: [&str; 5] = [
    "--output={result}",
    "--output-format=json+",
    "--write_iops_log={series}",
    "--log_avg_msec=1000",
    "--per_job_logs=0",
];

/// Options by which jobs do not run at the same time, or cannot be told from such.
const SEQUENTIAL: [&str; 6] = [
    "stonewall",
    "wait_for_previous",
    "wait_for",
    "new_group",
    "startdelay",
    "start_delay",
];

/// What a job file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Its numbers are those of the trial.
    Measured,
    /// It prepares a disk; its numbers are nobody's, and it has no time of its own.
    Preparing,
}

/// The file that a field names, of those there are, when nothing is wrong with it.
pub(super) fn named(field: &Field<'_>, files: &JobFiles, purpose: Use) -> Option<JobFile> {
    let is_plain = |text: &str| text.strip_suffix(".fio").is_some_and(is_name);
    let name = field.text_if(
        is_plain,
        "a plain name such as \"mix.fio\": the job file lies beside the workload file",
    )?;
    let text = match files.get(name) {
        Some(Ok(text)) => text,
        Some(Err(why)) => {
            field.wrong(
                format!("cannot use the job file {name}: {}", one_line(why, 200)),
                "a job file is plain text of at most 64 KiB",
            );
            return None;
        }
        None => {
            let near = crate::tunable::nearest(name, files.keys().map(String::as_str));
            let hint = near.map_or_else(
                || "put it beside the workload file".to_string(),
                |near| format!("put it beside the workload file; or did you mean `{near}`?"),
            );
            field.wrong(format!("there is no job file {name}"), hint);
            return None;
        }
    };
    let mistakes = mistakes(text, purpose);
    for (line, message, hint) in &mistakes {
        field.wrong(format!("{name}, line {line}: {message}"), hint);
    }
    mistakes.is_empty().then(|| JobFile {
        name: name.to_string(),
        text: text.clone(),
    })
}

/// A line, what is wrong with it, and what to do.
type Mistake = (usize, String, String);

/// More of them help nobody.
const MAX_MISTAKES: usize = 5;

fn mistakes(text: &str, purpose: Use) -> Vec<Mistake> {
    if text.len() > MAX_JOB_FILE {
        let message = "more than 64 KiB up to here".to_string();
        return vec![(text.lines().count(), message, "is this the right file?".into())];
    }
    let mut found: Vec<Mistake> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |(message, hint)| (at + 1, message, hint);
        found.extend(line_mistake(line.trim(), line, purpose).map(wrong));
    }
    let is_section = |line: &str| line.trim().starts_with('[') && !line.trim().starts_with("[global]");
    if !text.lines().any(is_section) {
        let message = "there is no job in it".to_string();
        found.push((1, message, "begin one with a line such as [job]".into()));
    }
    found.truncate(MAX_MISTAKES);
    found
}

fn line_mistake(line: &str, raw: &str, purpose: Use) -> Option<(String, String)> {
    let wrong = |message: &str, hint: &str| Some((message.to_string(), hint.to_string()));
    if raw.chars().any(|c| c.is_control() && c != '\t' && c != '\r') {
        return wrong("control characters", "save the file as plain text");
    }
    if line.starts_with(['#', ';']) {
        return None;
    }
    if line.split_whitespace().next() == Some("include") {
        return wrong(
            "a file that is included is not there when fio runs",
            "write its lines here",
        );
    }
    let option = line.split(['=', ' ', '\t']).next().unwrap_or_default();
    if purpose == Use::Measured && SEQUENTIAL.contains(&option) {
        return wrong(
            "jobs that run one after another are no single measurement",
            "make each a workload of its own; what lays out a file belongs to [prepare]",
        );
    }
    unknown_variable(line, purpose)
}

/// fio puts nothing in the place of a variable that is not set.
fn unknown_variable(line: &str, purpose: Use) -> Option<(String, String)> {
    let known = |name: &str| variables(purpose).any(|(variable, _)| *variable == name);
    let bad = line.split("${").skip(1).find_map(|rest| {
        let name = rest.split('}').next().unwrap_or_default();
        (!known(name)).then(|| one_line(name, 40))
    })?;
    let names: Vec<_> = variables(purpose)
        .map(|(name, _)| format!("${{{name}}}"))
        .collect();
    Some((
        format!("the variable ${{{bad}}} is not set when fio runs"),
        format!("known: {}", names.join(", ")),
    ))
}

/// What prepares a disk is not bound to the time of a trial.
fn variables(purpose: Use) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let count = if purpose == Use::Measured {
        VARIABLES.len()
    } else {
        1
    };
    VARIABLES.iter().take(count)
}

/// The command line that runs the file from a job's folder: only what it asks for is put into fio's environment.
pub(super) fn command(file: &JobFile, purpose: Use) -> Vec<String> {
    let is_comment = |line: &&str| line.trim_start().starts_with(['#', ';']);
    let lines = || file.text.lines().filter(|line| !is_comment(line));
    let used = variables(purpose).filter(|(name, _)| lines().any(|l| l.contains(&format!("${{{name}}}"))));
    let mut argv = vec!["env".to_string()];
    argv.extend(used.map(|(name, hole)| format!("{name}={hole}")));
    argv.push("fio".into());
    if purpose == Use::Measured {
        argv.extend(MEASURED.map(String::from));
    }
    argv.push(format!("{{job}}/{}", file.name));
    argv
}

/// The program that a command line is for: what `env` starts, where it sets variables first.
pub(crate) fn program(argv: &[String]) -> &str {
    let mut words = argv.iter().map(String::as_str);
    match words.next() {
        Some("env") => words.find(|word| !word.contains('=')).unwrap_or("env"),
        first => first.unwrap_or("?"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::workload::{Workload, parse_beside};

    const GOOD: &str = "; ${ANYTHING} in a comment\n[global]\nfilename=${SCRATCH}\n[a]\nruntime=${TIME}\n";

    /// The workload whose job file is `name`, with `text` or the reason why there is none.
    fn with(name: &str, text: Result<&str, &str>) -> Result<Workload, String> {
        let source = Source {
            name: "mine.toml".into(),
            text: format!(
                "summary = \"x\"\nrun = \"guest\"\njob = {name:?}\n\
                 [[metric]]\nname = \"iops\"\nunit = \"1/s\"\ngoal = \"maximize\"\n"
            ),
        };
        let text = text.map(String::from).map_err(String::from);
        let files = JobFiles::from([("mix.fio".to_string(), text)]);
        parse_beside(&source, &files).map_err(|e| e.render(false))
    }

    #[test]
    fn a_job_file_is_taken_as_it_is_and_given_what_it_asks_for() {
        let workload = with("mix.fio", Ok(GOOD)).unwrap();
        assert_eq!(workload.files[0].text, GOOD);
        let words: Vec<_> = workload.argv.iter().map(String::as_str).collect();
        assert_eq!(words[..4], ["env", "SCRATCH={scratch}", "TIME={time}", "fio"]);
        assert_eq!(words.last(), Some(&"{job}/mix.fio"));
        assert_eq!(program(&workload.argv), "fio");
        assert!(workload.needs_scratch());
        assert!(!workload.honours_warmup());
        let warm = with("mix.fio", Ok("[a]\nramp_time=${WARMUP}\n")).unwrap();
        assert!(warm.honours_warmup());
        let refused = parse_beside(
            &Source {
                name: "mine.toml".into(),
                text: "summary = \"x\"\nrun = \"guest\"\njob = \"mix.fio\"\nwarmup = \"1s\"\n\
                       [[metric]]\nname = \"iops\"\nunit = \"1/s\"\ngoal = \"maximize\"\n"
                    .into(),
            },
            &JobFiles::from([("mix.fio".to_string(), Ok(GOOD.to_string()))]),
        );
        let refused = refused.unwrap_err().render(false);
        assert!(refused.contains("ramp_time=${WARMUP}"), "{refused}");
        let said = with("mix.fio", Ok("; WARMUP=1 is put in ${WARMUP}\n[a]\n")).unwrap();
        assert!(!said.honours_warmup());
        let idle = with("mix.fio", Ok("[a]\nioengine=null\nsize=1g\n")).unwrap();
        assert_eq!(idle.argv[..2], ["env", "fio"]);
        assert!(!idle.needs_scratch());
    }

    #[test]
    fn a_recorded_workload_holds_its_job_file() {
        let workload = with("mix.fio", Ok(GOOD)).unwrap();
        let text = serde_json::to_string(&workload).unwrap();
        assert_eq!(serde_json::from_str::<Workload>(&text).unwrap(), workload);
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        old.as_object_mut().unwrap().remove("files");
        let old: Workload = serde_json::from_value(old).unwrap();
        assert!(old.files.is_empty() && old.prepare.is_none() && old.drop_caches.is_off());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let long = "x".repeat(MAX_JOB_FILE + 1);
        for (name, text, say) in [
            ("mx.fio", Ok(GOOD), "did you mean `mix.fio`"),
            (
                "mix.fio",
                Err("Permission denied"),
                "cannot use the job file mix.fio: Permission denied",
            ),
            ("../mix.fio", Ok(GOOD), "is no good as `job`"),
            ("/etc/mix.fio", Ok(GOOD), "is no good as `job`"),
            ("a.b.fio", Ok(GOOD), "is no good as `job`"),
            (".fio", Ok(GOOD), "is no good as `job`"),
            ("mix.toml", Ok(GOOD), "is no good as `job`"),
            ("mix.fio\n", Ok(GOOD), "is no good as `job`"),
            ("mix.fio", Ok(""), "there is no job in it"),
            ("mix.fio", Ok("[global]\nrw=read\n"), "there is no job in it"),
            ("mix.fio", Ok(&long), "more than 64 KiB"),
            (
                "mix.fio",
                Ok("[a]\nname=\u{1b}[31m\n"),
                "line 2: control characters",
            ),
            (
                "mix.fio",
                Ok("[a]\nfilename=${SCRACTH}\n"),
                "line 2: the variable ${SCRACTH} is not set",
            ),
            (
                "mix.fio",
                Ok("[a]\nfilename=${\n"),
                "line 2: the variable ${} is not set",
            ),
            (
                "mix.fio",
                Ok("[a]\ninclude other.fio\n"),
                "line 2: a file that is included",
            ),
            (
                "mix.fio",
                Ok("[a]\nrw=read\n[b]\n  stonewall\n"),
                "line 4: jobs that run one after another",
            ),
            (
                "mix.fio",
                Ok("[a]\n[b]\nwait_for=a\n"),
                "line 3: jobs that run one after another",
            ),
            (
                "mix.fio",
                Ok("[a]\nruntime=2\n[b]\nstartdelay=60\n"),
                "line 4: jobs that run one after another",
            ),
            (
                "mix.fio",
                Ok("[a]\n[b]\nstart_delay = 60\n"),
                "line 3: jobs that run one after another",
            ),
        ] {
            let error = with(name, text).unwrap_err();
            assert!(error.contains(say), "{say}:\n{error}");
            assert!(
                error.contains("mine.toml:3:7") && !error.contains('\u{1b}'),
                "{error}"
            );
        }
    }

    #[test]
    fn every_shipped_job_file_is_a_plain_one_of_fio() {
        for workload in crate::workload::Library::builtin().iter() {
            let prepare = workload.prepare.iter().flat_map(|prepare| &prepare.files);
            for file in workload.files.iter().chain(prepare) {
                assert!(
                    file.text.contains("; By hand: SCRATCH=/some/file "),
                    "{}",
                    file.name
                );
                assert!(file.text.contains("filename=${SCRATCH}"), "{}", file.name);
            }
        }
    }
}
