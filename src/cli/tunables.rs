//! `kvmtune tunables [NAME]`.

use super::exit::Code;
use super::failure::Failure;
use super::{Common, print, print_json, say};
use crate::tunable::{Activation, Tunable, catalogue};

/// Arguments of `tunables`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only names that contain this
    name: Option<String>,
}

pub(super) fn tunables(common: &Common, args: &Args) -> Result<Code, Failure> {
    let wanted = |t: &Tunable| {
        args.name
            .as_ref()
            .is_none_or(|name| t.name.contains(name.as_str()))
    };
    let all: Vec<_> = catalogue().iter().filter(|t| wanted(t)).cloned().collect();
    if all.is_empty() {
        say("error: no tunable has such a name; `kvmtune tunables` lists all");
        return Ok(Code::Usage);
    }
    if common.json {
        let rows: Vec<_> = all.iter().map(row).collect();
        print_json(&rows)?;
        return Ok(Code::Done);
    }
    for tunable in &all {
        let activation = match tunable.activation {
            Activation::Live => "live",
            Activation::DomainRestart => "restart",
            Activation::HostReboot => "reboot",
        };
        print(&format!(
            "{:<30} {activation:<8} {}",
            tunable.name, tunable.summary
        ));
        if let (true, Some(rule)) = (args.name.is_some(), tunable.rule()) {
            print(&format!("{:<39} suggested levels: {}", "", rule.basis()));
        }
    }
    if args.name.is_none() {
        print("Any other: sysctl:NAME on the host, guest-sysctl:NAME in the guest");
    }
    Ok(Code::Done)
}

fn row(tunable: &Tunable) -> serde_json::Value {
    serde_json::json!({
        "name": tunable.name,
        "activation": tunable.activation,
        "kind": tunable.kind,
        "summary": tunable.summary,
        "suggested": tunable.rule().map(|rule| rule.basis()),
    })
}
