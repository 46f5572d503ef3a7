//! `kvmtune recover`.

use super::exit::Code;
use super::failure::Failure;
use super::{Common, print, print_json};
use crate::session::recover_host;

pub(super) fn recover(common: &Common) -> Result<Code, Failure> {
    let report = recover_host(&common.dirs())?;
    let lines: Vec<_> = report.entries.iter().map(ToString::to_string).collect();
    if common.json {
        print_json(&serde_json::json!({ "complete": report.is_complete(), "entries": lines }))?;
    } else if lines.is_empty() {
        print("nothing to recover: no run was killed on this host");
    } else {
        for line in &lines {
            print(line);
        }
    }
    if report.is_complete() {
        Ok(Code::Done)
    } else {
        Err(Failure::NotRestored(
            "see the entries above; mend what they name and run `kvmtune recover` again".into(),
        ))
    }
}
