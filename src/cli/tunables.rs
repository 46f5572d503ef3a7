//! `kvmtune tunables [NAME]`.

use super::exit::Code;
use super::failure::Failure;
use super::plan::on_own_thread;
use super::watchman::open_host;
use super::{Common, files, print, print_json, say};
use crate::diagnostic::one_line;
use crate::experiment::Guest;
use crate::facts::Facts;
use crate::host::{BareHost, Cancel, Host, HostError, Power};
use crate::report::{self, TunableRow};
use crate::session::Watch;
use crate::tunable::{Address, LookupError, Offer, Tunable, catalogue, lookup, nearest, offer};
use std::path::PathBuf;

/// Arguments of `tunables`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only names that contain this; all about it, when it is the name of one
    name: Option<String>,
    /// Start the lab's guest, and tell what it and this host offer
    #[arg(long, conflicts_with = "file")]
    lab: bool,
    /// Ask the guest of this experiment, and its host
    #[arg(long = "for", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the page of the documentation: all that is known of them, on any host
    #[arg(long, conflicts_with_all = ["name", "lab", "file", "json"])]
    markdown: bool,
}

pub(super) fn tunables(common: &Common, args: &Args) -> Result<Code, Failure> {
    if args.markdown {
        print(&report::tunables_page(catalogue()));
        return Ok(Code::Done);
    }
    let chosen = chosen(args.name.as_deref());
    let Some(chosen) = chosen else {
        return Ok(Code::Usage);
    };
    let facts = match (&args.file, args.lab) {
        (Some(file), _) => Some(asked(common, &files::experiment(file)?.guest, &chosen)?),
        (None, true) => Some(asked(common, &Guest::default(), &chosen)?),
        // The host's own settings take no guest to be read.
        (None, false) => ask(&mut BareHost::new(None, Cancel::default()), &chosen).ok(),
    };
    let has_guest = args.lab || args.file.is_some();
    let rows: Vec<TunableRow> = chosen
        .iter()
        .map(|tunable| {
            let known = facts.as_ref().filter(|_| has_guest || tunable.is_of_host());
            (tunable, known.map(|facts| offer(tunable, facts)))
        })
        .collect();
    if common.json {
        let rows: Vec<_> = rows.iter().map(json).collect();
        print_json(&rows)?;
        return Ok(Code::Done);
    }
    match rows.as_slice() {
        [row] => print(&report::tunable(row, super::results::width())),
        rows => {
            print(&report::tunables(rows, super::results::width()));
            if args.name.is_none() {
                print(&report::hatches());
            }
        }
    }
    if !has_guest {
        say(
            "`--lab` asks this host and the lab's guest what they offer; `--for FILE` asks the guest of an experiment",
        );
    }
    Ok(Code::Done)
}

/// One tunable by its whole name, else all whose name contains it; nothing, and it is said so, when there is none.
fn chosen(name: Option<&str>) -> Option<Vec<Tunable>> {
    let Some(name) = name else {
        return Some(catalogue().to_vec());
    };
    match lookup(name) {
        Ok(found) => return Some(vec![found]),
        Err(error @ LookupError::Name(_)) => {
            say(&format!("error: {error}"));
            return None;
        }
        Err(LookupError::Unknown { .. }) => {}
    }
    // People know them by the kernel's names, too.
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = plain(name);
    let is_meant = |t: &&Tunable| plain(&t.name).contains(&wanted) || plain(&t.own_name()).contains(&wanted);
    let all: Vec<_> = catalogue().iter().filter(is_meant).cloned().collect();
    if all.is_empty() {
        let near = nearest(name, catalogue().iter().map(|t| t.name.as_str()));
        let near = near
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        say(&format!(
            "error: no tunable has `{}` in its name; {near}`kvmtune tunables` lists all",
            one_line(name, 60)
        ));
        return None;
    }
    Some(all)
}

/// What host and guest tell of the tunables; both are given back as they were.
fn asked(common: &Common, guest: &Guest, tunables: &[Tunable]) -> Result<Facts, Failure> {
    on_own_thread(|| {
        let mut session = open_host(common, guest, false, Watch::default(), Cancel::default())?;
        let facts = ask(&mut session.host, tunables);
        session.close().map_err(Failure::not_given_back)?;
        facts.map_err(|e| Failure::environment(e.to_string()))
    })
}

/// How many of this host's own settings can be tuned, and how many there are.
pub(super) fn of_this_host() -> (usize, usize) {
    let all: Vec<_> = catalogue().iter().filter(|t| t.is_of_host()).cloned().collect();
    let facts = ask(&mut BareHost::new(None, Cancel::default()), &all).unwrap_or_default();
    let there = all
        .iter()
        .filter(|t| matches!(offer(t, &facts), Offer::Available { .. }));
    (there.count(), all.len())
}

fn ask(host: &mut dyn Host, tunables: &[Tunable]) -> Result<Facts, HostError> {
    host.power(Power::On)?;
    let mut facts = host.facts()?;
    let mut addresses: Vec<Address> = Vec::new();
    for address in tunables.iter().flat_map(|t| t.addresses_to_read(&facts)) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let read = host.read_all(&addresses);
    let readings = addresses
        .iter()
        .zip(read)
        .filter_map(|(address, raw)| Some((address.to_string(), raw.ok()?)));
    facts.readings.extend(readings);
    let fixed = addresses.iter().filter(|address| host.is_read_only(address));
    facts.read_only = fixed.map(ToString::to_string).collect();
    Ok(facts)
}

fn json((tunable, offer): &TunableRow<'_>) -> serde_json::Value {
    serde_json::json!({
        "name": tunable.name,
        "activation": tunable.activation,
        "kind": tunable.kind,
        "unit": tunable.unit,
        "default": tunable.default,
        "hazard": tunable.hazard,
        "hazards": tunable.hazards,
        "lives-in": tunable.own_name(),
        "coupling": tunable.coupling,
        "since": tunable.since,
        "gone": tunable.gone,
        "needs": tunable.needs,
        "persistence": tunable.persistence(),
        "summary": tunable.summary,
        "source": tunable.source,
        "here": offer,
    })
}
