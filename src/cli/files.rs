//! Reading the user's files: an experiment, and the workloads beside it.

use super::failure::Failure;
use crate::diagnostic::{Diagnostic, Diagnostics, MAX_SOURCE, Source};
use crate::event::RunHeader;
use crate::experiment::{self, Experiment};
use crate::workload::{JobFiles, Library, MAX_JOB_FILE};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The experiment in a file, with the built-in workloads and those in a `workloads` folder beside it, above it or
/// here; the nearest wins.
pub(super) fn experiment(path: &Path) -> Result<Experiment, Failure> {
    let source = source(
        path,
        "name an experiment file, such as experiments/quickstart.toml",
    )?;
    Ok(experiment::parse(&source, &library(path, Library::builtin())?)?)
}

/// The text of a file; one that is too large or no text is a mistake in the file, one that is not there is answered with
/// `hint`.
pub(super) fn source(path: &Path, hint: &str) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        let source = Source {
            name: name.clone(),
            text: String::new(),
        };
        let mistake = Diagnostic::whole(format!("cannot read {name}: {error}")).hint(hint);
        Failure::from(Diagnostics::single(&source, mistake))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SOURCE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(Source::from_bytes(name.clone(), &bytes)?)
}

/// Of `known`, and of the folders of an experiment.
fn library(experiment: &Path, known: Library) -> Result<Library, Failure> {
    let beside = experiment.parent().unwrap_or(Path::new(""));
    let folders = [
        PathBuf::from("workloads"),
        beside.join("../workloads"),
        beside.join("workloads"),
    ];
    let mut library = known;
    for folder in folders {
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect();
        let jobs = job_files(&paths);
        paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
        paths.sort();
        let hint = "make it readable, or move it out of the folder of workloads";
        let sources = paths
            .iter()
            .map(|p| source(p, hint))
            .collect::<Result<Vec<_>, _>>()?;
        library = library
            .with_jobs(jobs)
            .with_folder(&sources)
            .map_err(Failure::Files)?;
    }
    Ok(library)
}

/// The job files among `paths`; of one that cannot be read it is said where a workload names it.
fn job_files(paths: &[PathBuf]) -> JobFiles {
    let is_job = |path: &&PathBuf| path.extension().is_some_and(|e| e == "fio");
    let read = |path: &PathBuf| {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|e| e.to_string())?;
        file.take(MAX_JOB_FILE as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        if bytes.len() > MAX_JOB_FILE {
            return Err("it is larger than 64 KiB".to_string());
        }
        String::from_utf8(bytes).map_err(|e| format!("it is no UTF-8 text: {}", e.utf8_error()))
    };
    let named = |path: &PathBuf| Some((path.file_name()?.to_str()?.to_string(), read(path)));
    paths.iter().filter(is_job).filter_map(named).collect()
}

/// The experiment a run was started with, from the record; its workloads are read again, but for files that are gone.
pub(super) fn recorded(header: &RunHeader) -> Result<Experiment, Failure> {
    let source = Source {
        name: header.file.clone(),
        text: header.text.clone(),
    };
    let known = Library::builtin().with_recorded(&header.protocol.workloads);
    Ok(experiment::parse(
        &source,
        &library(Path::new(&header.file), known)?,
    )?)
}
