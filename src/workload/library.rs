//! The workloads that are known by name: those built in, and those of a user's folder.

use super::{Workload, file};
use crate::diagnostic::{Diagnostics, Source};
use std::collections::BTreeMap;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of the built-in files.
        const BUILT_IN: &[(&str, &str)] = &[$((
            concat!($name, ".toml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/", $name, ".toml")),
        )),*];
    };
}
built_in!(
    "fio-randread-4k",
    "fio-randwrite-4k",
    "iperf3-guest-to-guest",
    "iperf3-guest-to-host",
    "iperf3-host-to-guest",
    "stress-ng-memory",
    "stress-ng-memrate",
);

/// Workloads by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Library {
    workloads: BTreeMap<String, Workload>,
}

impl Library {
    /// The workloads built in.
    pub fn builtin() -> Self {
        let parse = |(name, text): &(&str, &str)| {
            let source = Source {
                name: (*name).into(),
                text: (*text).into(),
            };
            let workload = file::parse(&source).expect("the build embeds these; a test parses each");
            (workload.name.clone(), workload)
        };
        Self {
            workloads: BUILT_IN.iter().map(parse).collect(),
        }
    }

    /// The same with the workloads of `files` added; one of the same name takes the place of a built-in.
    pub fn with_folder(mut self, files: &[Source]) -> Result<Self, Vec<Diagnostics>> {
        let mut mistakes = Vec::new();
        for source in files {
            match file::parse(source) {
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
        let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| (*name).to_string()).collect();
        assert_eq!(found, known);
        assert_eq!(Library::builtin().names().count(), known.len());
    }

    #[test]
    fn a_users_file_takes_the_place_of_a_built_in_one() {
        let (name, text) = BUILT_IN[0];
        let source = |text: String| Source {
            name: format!("mine/{name}"),
            text,
        };
        let changed = source(text.replacen("summary = \"", "summary = \"mine: ", 1));
        let library = Library::builtin().with_folder(&[changed]).unwrap();
        assert!(
            library
                .get("fio-randread-4k")
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
