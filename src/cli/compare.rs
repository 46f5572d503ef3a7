//! `kvmtune compare`: two runs side by side.

use super::exit::Code;
use super::failure::Failure;
use super::results::{Judged, width};
use super::{Common, print, print_json};
use crate::report::{compare_markdown, compare_text};
use crate::store::Store;

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `latest`, an id or a piece of one, or the name of an experiment
    first: String,
    /// The run to set beside it
    second: String,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Unlike hosts are an answer, not a failure; two runs that share nothing are one.
pub(super) fn compare(common: &Common, args: &Args) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let [first, second] = [store.find(&args.first)?, store.find(&args.second)?];
    let [first, second] = [Judged::read(&store, first)?, Judged::read(&store, second)?];
    let both = crate::report::compare(&first.report(), &second.report())
        .map_err(|e| Failure::environment(e.to_string()))?;
    if common.json {
        print_json(&both)?;
    } else if args.markdown {
        print(&compare_markdown(&both));
    } else {
        print(&compare_text(&both, width()));
    }
    Ok(Code::Done)
}
