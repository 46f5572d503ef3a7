//! A proven treatment taken apart: what goes to the host, and as what it lasts there.

use super::{CommitError, Extent, HostPart};
use crate::design::Treatment;
use crate::persist::{Lasting, Sysfs, lasting};
use crate::tunable::{Address, Setting};

/// tuned on the machine that is committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuned {
    /// The profile that kvmtune's own builds upon.
    pub base: String,
    /// Whether tuned runs, so that kvmtune's own is made the active one.
    pub runs: bool,
}

/// The settings of the host and the others in which a treatment differs from its baseline, in the order they are written.
pub fn split(treatment: &Treatment, baseline: &Treatment) -> (Vec<Setting>, Vec<Setting>) {
    let of_baseline: Vec<_> = [&baseline.boot, &baseline.restart, &baseline.live]
        .into_iter()
        .flatten()
        .collect();
    let is_same = |setting: &Setting| {
        of_baseline
            .iter()
            .any(|other| other.address == setting.address && other.value == setting.value)
    };
    // A twin that follows goes where its twin goes.
    [&treatment.boot, &treatment.restart, &treatment.live]
        .into_iter()
        .flatten()
        .filter(|setting| !is_same(setting))
        .cloned()
        .partition(|setting| setting.address.is_of_host())
}

/// What these settings come to on the host or in an image.
pub fn host_part(
    settings: &[Setting],
    extent: Extent,
    tuned: Option<Tuned>,
    sysfs: &mut dyn Sysfs,
) -> Result<HostPart, CommitError> {
    let mut items: Vec<Lasting> = Vec::new();
    if extent.is_config() {
        for setting in settings {
            items.extend(lasting(setting, sysfs)?);
        }
        items.dedup();
    }
    let is_boot = |setting: &Setting| matches!(setting.address, Address::HostBoot(_));
    let is_live = |setting: &&Setting| !is_boot(setting) && extent.is_live();
    let values: Vec<_> = settings.iter().filter(is_live).cloned().collect();
    let has_values = items
        .iter()
        .any(|item| matches!(item, Lasting::Sysctl { .. } | Lasting::File { .. }));
    let tuned = tuned.filter(|_| has_values);
    Ok(HostPart {
        activates_profile: tuned.as_ref().is_some_and(|tuned| tuned.runs && extent.is_live()),
        tuned: tuned.map(|tuned| tuned.base),
        values,
        lasting: items,
        checked: settings
            .iter()
            .filter(|s| extent.is_config() || !is_boot(s))
            .cloned()
            .collect(),
    })
}
