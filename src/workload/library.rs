//! The workloads that are known by name: those built in, and those of a user's folder.

use super::{JobFiles, Workload, file};
use crate::decode::stem;
use crate::diagnostic::{Diagnostics, Source};
use std::collections::BTreeMap;

macro_rules! embedded {
    ($ending:literal: $($name:literal),* $(,)?) => {
        &[$((
            concat!($name, $ending),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/", $name, $ending)),
        )),*]
    };
}
/// Names and texts of the built-in files.
const BUILT_IN: &[(&str, &str)] = embedded!(".toml":
    "connection-rate",
    "connection-rate-guest-to-host",
    "cyclictest",
    "fio-fsync-4k",
    "fio-randread-4k",
    "fio-randread-4k-qd1",
    "fio-randrw-4k",
    "fio-randwrite-4k",
    "fio-randwrite-4k-qd1",
    "fio-seqread-1m",
    "fio-seqwrite-1m",
    "hackbench",
    "iperf3-guest-to-guest",
    "iperf3-guest-to-host",
    "iperf3-guest-to-host-4",
    "iperf3-host-to-guest",
    "iperf3-host-to-guest-4",
    "iperf3-loaded-rtt",
    "iperf3-udp-guest-to-host",
    "iperf3-udp-host-to-guest",
    "mbw",
    "memory-latency",
    "memory-latency-1g",
    "memory-latency-2m",
    "memory-latency-any",
    "nginx-wrk",
    "pgbench",
    "redis-get",
    "sockperf-ping-pong",
    "stress-ng-memory",
    "stress-ng-memrate",
    "sysbench-cpu",
    "sysbench-memory",
);
/// The job files that lie beside them.
const JOB_FILES: &[(&str, &str)] = embedded!(".fio":
    "fio-fsync-4k",
    "fio-layout",
    "fio-precondition",
    "fio-randread-4k-qd1",
    "fio-randrw-4k",
    "fio-randwrite-4k-qd1",
    "fio-seqread-1m",
    "fio-seqwrite-1m",
);

/// Workloads by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Library {
    workloads: BTreeMap<String, Workload>,
    /// What they were read from.
    sources: BTreeMap<String, Source>,
    jobs: JobFiles,
}

impl Library {
    /// The workloads built in.
    pub fn builtin() -> Self {
        let source = |(name, text): &(&str, &str)| Source {
            name: (*name).into(),
            text: (*text).into(),
        };
        let sources: Vec<_> = BUILT_IN.iter().map(source).collect();
        let job = |(name, text): &(&str, &str)| ((*name).to_string(), Ok((*text).to_string()));
        Self::default()
            .with_jobs(JOB_FILES.iter().map(job).collect())
            .with_folder(&sources)
            .expect("the build embeds these; a test parses each")
    }

    /// The same with job files added, for the next [`Library::with_folder`]; one of the same name takes the place of an
    /// earlier one, also in workloads that are known already.
    #[must_use]
    pub fn with_jobs(mut self, jobs: JobFiles) -> Self {
        self.jobs.extend(jobs);
        self
    }

    /// The same with what a run recorded of its workloads, where nothing else is known by their names.
    #[must_use]
    pub fn with_recorded(mut self, workloads: &[Workload]) -> Self {
        for workload in workloads {
            let prepare = workload.prepare.iter().flat_map(|prepare| &prepare.files);
            let files = workload.files.iter().chain(prepare);
            let recorded = files.map(|file| (file.name.clone(), Ok(file.text.clone())));
            self.jobs.extend(recorded);
            let entry = self.workloads.entry(workload.name.clone());
            entry.or_insert_with(|| workload.clone());
        }
        self
    }

    /// The same with the workloads of `files` added; one of the same name takes the place of a built-in.
    pub fn with_folder(mut self, files: &[Source]) -> Result<Self, Vec<Diagnostics>> {
        let named = |source: &Source| (stem(&source.name).to_string(), source.clone());
        self.sources.extend(files.iter().map(named));
        let mut mistakes = Vec::new();
        for source in self.sources.values() {
            match file::parse_beside(source, &self.jobs) {
                Ok(workload) => {
                    self.workloads.insert(workload.name.clone(), workload);
                }
                Err(found) => mistakes.push(found),
            }
        }
        if mistakes.is_empty() {
            Ok(self)
        } else {
            Err(mistakes)
        }
    }

    /// The workload called `name`.
    pub fn get(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workloads.keys().map(String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_folder_holds_what_is_built_in_and_nothing_else() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads")).unwrap();
        let mut found: Vec<String> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let known = BUILT_IN
            .iter()
            .chain(JOB_FILES)
            .map(|(name, _)| (*name).to_string());
        let mut known: Vec<_> = known.collect();
        known.sort();
        assert_eq!(found, known);
        assert_eq!(Library::builtin().names().count(), BUILT_IN.len());
    }

    #[test]
    fn three_have_a_fixed_amount_of_work() {
        let library = Library::builtin();
        let fixed = library.iter().filter(|w| !w.runs_for_its_time());
        let names: Vec<_> = fixed.map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["hackbench", "mbw", "redis-get"]);
    }

    #[test]
    fn a_recorded_workload_is_known_without_its_files() {
        let jobs = JobFiles::from([(
            "mine.fio".to_string(),
            Ok("[a]\nfilename=${SCRATCH}\nramp_time=${WARMUP}\n".to_string()),
        )]);
        let text =
            built_in("fio-randrw-4k.toml").replace("job = \"fio-randrw-4k.fio\"", "job = \"mine.fio\"");
        let source = Source {
            name: "mine.toml".into(),
            text,
        };
        let before = Library::builtin()
            .with_jobs(jobs)
            .with_folder(std::slice::from_ref(&source));
        let before = before.unwrap().get("mine").unwrap().clone();
        let recorded = Library::builtin().with_recorded(std::slice::from_ref(&before));
        assert_eq!(recorded.get("mine"), Some(&before));
        let only_job_gone = recorded.with_folder(&[source]).unwrap();
        assert_eq!(only_job_gone.get("mine"), Some(&before));
    }

    fn built_in(name: &str) -> &'static str {
        let files = BUILT_IN.iter().chain(JOB_FILES);
        files.copied().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn a_users_job_file_takes_the_place_of_a_built_in_one() {
        let name = "fio-randrw-4k.fio";
        let own = built_in(name).replace("rwmixread=70", "rwmixread=50");
        let jobs = |text: Result<String, String>| JobFiles::from([(name.to_string(), text)]);
        let library = Library::builtin().with_jobs(jobs(Ok(own.clone())));
        let library = library.with_folder(&[]).unwrap();
        assert_eq!(library.get("fio-randrw-4k").unwrap().files[0].text, own);
        let library = Library::builtin().with_jobs(jobs(Err("it is a folder".into())));
        let mistakes = library.with_folder(&[]).unwrap_err();
        assert!(
            mistakes[0].to_string().contains("it is a folder"),
            "{}",
            mistakes[0]
        );
    }

    #[test]
    fn a_users_file_takes_the_place_of_a_built_in_one() {
        let (name, text) = ("fio-randread-4k.toml", built_in("fio-randread-4k.toml"));
        let source = |text: String| Source {
            name: format!("mine/{name}"),
            text,
        };
        let changed = source(text.replacen("summary = \"", "summary = \"mine: ", 1));
        let library = Library::builtin().with_folder(&[changed]).unwrap();
        assert!(
            library
                .get(name.trim_end_matches(".toml"))
                .unwrap()
                .summary
                .starts_with("mine: ")
        );
        let errors = Library::builtin()
            .with_folder(&[source("run = 1".into())])
            .unwrap_err();
        assert_eq!(errors.len(), 1);
    }
}
