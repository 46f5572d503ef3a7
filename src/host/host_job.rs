//! A job on this machine: a folder of its own, the files that come with it, and those it leaves there.
//!
//! Does not know what the jobs are.

use super::command::Running;
use super::guest_job::within_limit;
use super::{HostError, Job, JobOutput, RESULT_FILE};
use crate::workload::JobFile;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The folders of jobs on the host. They are found there when kvmtune was killed.
const FOLDERS: &str = "/run/kvmtune/jobs";
/// Then come the process that made it, when that was started, and what is unique.
const PREFIX: &str = "kvmtune-job-";

/// Runs a job to its end, in the calling thread's namespaces, and takes its results; tells when it `began`.
pub(super) fn run(job: &Job, began: &dyn Fn(), cancelled: &dyn Fn() -> bool) -> Result<JobOutput, HostError> {
    let folder = Folder::make()?;
    for file in &job.files {
        folder.put(file)?;
    }
    let placed = |text: &String| super::placed(text, &folder.path());
    let argv: Vec<_> = job.argv.iter().map(placed).collect();
    let max = job.max_output;
    let running = Running::start(&argv, max)?;
    began();
    let done = running.finish(job.limit, cancelled)?;
    // A command that failed may not have come to writing; its exit code tells more.
    let wants_result = job.argv.iter().any(|a| a.contains(RESULT_FILE));
    let result = wants_result.then(|| read(&folder.0.join("result"), max.0));
    let result = result.and_then(Result::ok);
    let whole = result.clone().unwrap_or_default();
    within_limit(&argv, max, [&done.stdout, &done.stderr])?;
    within_limit(&argv, max, [&whole, &whole])?;
    let series = job.series.as_ref().map(placed);
    let series = series.map(|path| match read(Path::new(&path), max.0) {
        Ok(bytes) if bytes.len() as u64 > max.0 => Err(format!("it is larger than {max}")),
        read => read.map_err(|e| e.to_string()),
    });
    Ok(JobOutput {
        exit: done.exit,
        wall: done.wall,
        stdout: done.stdout,
        stderr: done.stderr,
        result,
        series,
    })
}

/// A file, and one byte more than `max` when it is longer.
fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes the folders of jobs whose kvmtune is gone. What cannot be removed is tried again by the next.
pub(crate) fn remove_leftovers() {
    remove_leftovers_in(Path::new(FOLDERS));
}

fn remove_leftovers_in(folders: &Path) {
    let all = fs::read_dir(folders).into_iter().flatten().flatten();
    for entry in all.filter(|e| e.file_name().to_str().is_some_and(is_left)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Whether a folder of this name is of a kvmtune that is gone.
fn is_left(name: &str) -> bool {
    let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().splitn(3, '-');
    let numbers = (parts.next(), parts.next());
    let (Some(Ok(pid)), Some(Ok(start))) =
        (numbers.0.map(str::parse::<u32>), numbers.1.map(str::parse::<u64>))
    else {
        return false;
    };
    start_of(pid) != Some(start)
}

/// When a process was started, in clock ticks since the boot of the host; `None` when it has ended. See `proc_pid_stat(5)`.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the state may hold anything, also parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let has_ended = matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| !has_ended)
}

/// A job's own folder; removed with all that is in it when dropped.
struct Folder(PathBuf);

impl Folder {
    /// Made where a later kvmtune finds what is left of it, or, without the right to do that, for temporary files.
    fn make() -> Result<Self, HostError> {
        remove_leftovers();
        let pid = std::process::id();
        let start = start_of(pid).unwrap_or_default();
        let name = format!("{PREFIX}{pid}-{start}-{}", Uuid::now_v7());
        let make_in = |folders: &Path| {
            let path = folders.join(&name);
            DirBuilder::new().mode(0o700).create(&path).map(|()| path)
        };
        let made = make_folders().and_then(|()| make_in(Path::new(FOLDERS)));
        let made = made.or_else(|_| make_in(&std::env::temp_dir()));
        let doing = || format!("make a folder for a job, in {FOLDERS} or for temporary files");
        made.map(Self).map_err(|e| HostError::new(doing(), e))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// Puts a file in that is for root's eyes only.
    fn put(&self, file: &JobFile) -> Result<(), HostError> {
        let path = self.0.join(&file.name);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = opened.and_then(|mut opened| opened.write_all(file.text.as_bytes()));
        written.map_err(|e| HostError::new(format!("write {}", path.display()), e))
    }
}

fn make_folders() -> io::Result<()> {
    let folders = Path::new(FOLDERS);
    folders.parent().map_or(Ok(()), fs::create_dir_all)?;
    match DirBuilder::new().mode(0o700).create(folders) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_processes_that_are_gone_are_removed_and_no_others() {
        let folders = tempfile::tempdir().unwrap();
        let (own, start) = (std::process::id(), start_of(std::process::id()).unwrap());
        // It has ended, and is there until it is waited for.
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let ended_start = loop {
            let told = fs::read_to_string(format!("/proc/{}/stat", ended.id())).unwrap();
            if told.contains("(true) Z ") {
                break told.split(' ').nth(21).unwrap().to_string();
            }
        };
        let stay = [
            format!("{PREFIX}{own}-{start}-x"),
            "kvmtune-job-".into(),
            "kvmtune-job-x-1-y".into(),
            format!("other-{own}-0-x"),
        ];
        let go = [
            format!("{PREFIX}{own}-{}-x", start + 1),
            format!("{PREFIX}{}-1-x", u32::MAX),
            format!("{PREFIX}{}-{ended_start}-x", ended.id()),
        ];
        for name in stay.iter().chain(&go) {
            fs::create_dir(folders.path().join(name)).unwrap();
            fs::write(folders.path().join(name).join("result"), "").unwrap();
        }
        remove_leftovers_in(folders.path());
        ended.wait().unwrap();
        let is_there = |name: &String| folders.path().join(name).exists();
        assert!(stay.iter().all(is_there) && !go.iter().any(is_there));
    }

    #[test]
    fn the_folder_of_a_job_is_found_by_the_next_kvmtune() {
        let folder = Folder::make().unwrap();
        let name = folder.0.file_name().unwrap().to_str().unwrap();
        assert!(!is_left(name), "{name}");
        let (_, unique) = name.rsplit_once(&format!("-{}-", std::process::id())).unwrap();
        let (start, _) = unique.split_once('-').unwrap();
        let other = name.replace(&format!("-{start}-"), "-1-");
        assert!(is_left(&other), "{other}");
        if nix::unistd::geteuid().is_root() {
            assert!(folder.0.starts_with(FOLDERS), "{:?}", folder.0);
        }
    }
}
