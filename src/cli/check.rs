//! `kvmtune check [FILE]`.

use super::exit::Code;
use super::failure::Failure;
use super::leg::Leg;
use super::{Common, files, plan, print, print_json, say, tunables};
use crate::check::{host_lacks, unrest};
use crate::host::{BareHost, Cancel, Host};
use std::path::PathBuf;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The experiment; without one, what the lab needs is checked
    file: Option<PathBuf>,
}

pub(super) fn check(common: &Common, args: &Args) -> Result<Code, Failure> {
    let experiment = args.file.as_deref().map(files::experiment).transpose()?;
    let mut lacks = host_lacks(experiment.as_ref());
    let mut facts = None;
    if let (Some(experiment), true) = (&experiment, lacks.is_empty()) {
        match plan::look(common, experiment) {
            Ok(looked) => {
                // Levels that are impossible here are known only once a plan is made.
                Leg::first(experiment).plan(experiment, &looked, None, None)?;
                facts = Some(looked.facts);
            }
            Err(Failure::Lacks(found)) => lacks = found,
            Err(other) => return Err(other),
        }
    }
    let warnings = unrest();
    if common.json {
        let document = serde_json::json!({
            "ready": lacks.is_empty(),
            "lacks": lacks,
            "warnings": warnings,
            "facts": facts,
        });
        print_json(&document)?;
    }
    if !common.json {
        for warning in &warnings {
            say(&format!(
                "warning: {}\n  to mend it: {}",
                warning.what, warning.mend
            ));
        }
    }
    if !lacks.is_empty() {
        return if common.json {
            Ok(Code::Environment)
        } else {
            Err(Failure::Lacks(lacks))
        };
    }
    if !common.json {
        let what = args
            .file
            .as_ref()
            .map_or("the lab".into(), |f| f.display().to_string());
        print(&format!("ready for {what}: nothing is missing"));
        if args.file.is_none() {
            let (there, all) = tunables::of_this_host();
            print(&format!(
                "{there} of {all} settings of this host can be tuned without a guest; `kvmtune tunables --lab` asks the guest too"
            ));
            facts = BareHost::new(None, Cancel::default()).facts().ok();
        }
        if let Some(facts) = facts {
            for (name, value) in facts.record.iter().filter(|(_, v)| v.len() < 100) {
                print(&format!("  {name}: {value}"));
            }
        }
    }
    Ok(Code::Done)
}
