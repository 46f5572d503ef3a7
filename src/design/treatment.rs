//! Treatments: one level per factor, and what must be set to make it so.
//!
//! Knows levels and their settings; not blocks, not hosts.

use super::PlannedFactor;
use super::picks::Pick;
use crate::facts::Facts;
use crate::tunable::{Level, Setting, SettingRole};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Eight hex digits of a hash over the canonical settings: the same treatment has the same id in every run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreatmentId(String);

impl TreatmentId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TreatmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a treatment is in the plan for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To be compared; the first one of a plan is the baseline.
    #[default]
    Listed,
    /// The baseline under another name, compared with itself in an A/A run.
    Again,
    /// The baseline measured a second time in the middle of a long block; both count as one.
    Middle,
    /// The winner that the compared treatment is a part of; not compared with the baseline again.
    Whole,
}

/// One level per factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Treatment {
    /// Hash of its tunables and values.
    pub id: TreatmentId,
    /// What the experiment calls it.
    pub name: Option<String>,
    /// What it is for.
    pub role: Role,
    /// `(tunable, label of its level)`, in the order of the factors.
    pub levels: Vec<(String, String)>,
    /// What the host is booted with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot: Vec<Setting>,
    /// Set while the guest is off, in this order.
    pub restart: Vec<Setting>,
    /// Set while the guest runs, in this order.
    pub live: Vec<Setting>,
}

impl Treatment {
    /// `domain.disk.cache=none guest.disk.scheduler=bfq`.
    pub fn label(&self) -> String {
        let parts: Vec<_> = self
            .levels
            .iter()
            .map(|(tunable, level)| format!("{tunable}={level}"))
            .collect();
        parts.join(" ")
    }

    /// The levels in which it differs from `baseline`, as text.
    pub fn label_against(&self, baseline: &Self) -> String {
        match self.role {
            Role::Again => return "baseline again".into(),
            Role::Middle => return "baseline, mid-block".into(),
            Role::Whole | Role::Listed => {}
        }
        if let Some(name) = &self.name {
            return name.clone();
        }
        let differs = self.levels.iter().filter(|l| !baseline.levels.contains(l));
        let parts: Vec<_> = differs
            .map(|(tunable, level)| format!("{tunable}={level}"))
            .collect();
        if parts.is_empty() {
            "baseline".into()
        } else {
            parts.join(" ")
        }
    }

    fn new(factors: &[PlannedFactor], picks: &[usize]) -> Self {
        let chosen = || factors.iter().zip(picks).map(|(f, &pick)| (f, &f.levels[pick]));
        let gather = |reboots, whole_plot| {
            let levels = chosen()
                .filter(|(f, _)| f.reboots == reboots && f.whole_plot == whole_plot)
                .map(|(_, level)| level);
            without_repeats(levels)
        };
        let boot = gather(true, false);
        let (restart, live) = (gather(false, true), gather(false, false));
        let mut hash = Sha256::new();
        for (factor, level) in chosen() {
            // The tunable and its value, not the place: a loop device may have another number tomorrow.
            let value = level.settings.last().map_or("", |s| s.value.as_str());
            hash.update(format!("{}={value}\n", factor.tunable));
        }
        let id = short(&hash.finalize());
        let levels = chosen()
            .map(|(f, level)| (f.tunable.clone(), level.label.clone()))
            .collect();
        Self {
            id: TreatmentId(id),
            name: None,
            role: Role::Listed,
            levels,
            boot,
            restart,
            live,
        }
    }

    /// The same settings under another id, for another role.
    pub(super) fn repeated(&self, role: Role) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{} {role:?}", self.id));
        let id = short(&hash.finalize());
        Self {
            id: TreatmentId(id),
            role,
            ..self.clone()
        }
    }
}

/// Eight hex digits.
fn short(hash: &[u8]) -> String {
    hash.iter()
        .take(4)
        .fold(String::new(), |id, byte| id + &format!("{byte:02x}"))
}

/// The settings of several levels; where one place is named twice, the user's own setting wins over a coupled one.
fn without_repeats<'l>(levels: impl Iterator<Item = &'l Level>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = levels.flat_map(|l| l.settings.clone()).collect();
    // Coupled settings serve others, so they come first; the sort is stable.
    settings.sort_by_key(|s| s.role == SettingRole::Own);
    let explicit: Vec<_> = settings
        .iter()
        .filter(|s| s.role == SettingRole::Own)
        .map(|s| s.address.clone())
        .collect();
    settings.retain(|s| s.role == SettingRole::Own || !explicit.contains(&s.address));
    let mut seen = Vec::new();
    settings.retain(|s| {
        let new = !seen.contains(&s.address);
        seen.push(s.address.clone());
        new
    });
    // A place a coupled setting wanted is a means: it must be written before what needs it.
    settings.sort_by_key(|s| s.address.needs_guest_off());
    settings
}

/// All treatments of the design, the baseline first; impossible combinations are left out and named in `notices`.
pub(super) fn combine(
    factors: &[PlannedFactor],
    picks: &[Pick],
    facts: &Facts,
    notices: &mut Vec<String>,
) -> Vec<Treatment> {
    let mut treatments: Vec<Treatment> = Vec::new();
    for (number, pick) in picks.iter().enumerate() {
        match possible(factors, pick, facts) {
            Ok(treatment) => treatments.push(treatment),
            Err(why) => notices.push(why),
        }
        // Without a baseline there is nothing to compare with.
        if number == 0 && treatments.is_empty() {
            return treatments;
        }
    }
    treatments
}

/// One combination of levels, or why it is left out.
pub(super) fn possible(factors: &[PlannedFactor], pick: &Pick, facts: &Facts) -> Result<Treatment, String> {
    let mut treatment = Treatment {
        name: pick.name.clone(),
        ..Treatment::new(factors, &pick.levels)
    };
    Setting::in_safe_order(&mut treatment.live, facts);
    let all: Vec<_> = treatment.restart.iter().chain(&treatment.live).cloned().collect();
    let conflict = Setting::conflict(&all, facts)
        .or_else(|| starved_pool(factors, &pick.levels, &all))
        .or_else(|| denied_zero(factors, &pick.levels));
    match conflict {
        Some(why) => Err(format!("left out {}: {why}", treatment.label())),
        None => Ok(treatment),
    }
}

/// Two sysctls that zero each other, both set.
fn denied_zero(factors: &[PlannedFactor], picks: &[usize]) -> Option<String> {
    let levels = factors.iter().zip(picks).map(|(f, &pick)| &f.levels[pick]);
    let all: Vec<_> = levels.flat_map(|l| &l.settings).collect();
    let follows = all.iter().filter(|s| s.role == SettingRole::Follows);
    let denied = |s: &&&Setting| {
        let set = all.iter().filter(|other| other.role == SettingRole::Own);
        set.into_iter()
            .any(|other| other.address == s.address && other.value != s.value)
    };
    let found = follows.into_iter().find(denied)?;
    Some(format!(
        "{} becomes {} when its twin is set",
        found.address, found.value
    ))
}

/// A page pool that the user sets smaller than the guest's backing needs.
fn starved_pool(factors: &[PlannedFactor], picks: &[usize], settings: &[Setting]) -> Option<String> {
    let number = |s: &Setting| s.value.as_str().parse::<u64>().ok();
    let levels = factors.iter().zip(picks).map(|(f, &pick)| &f.levels[pick]);
    let wanted: Vec<_> = levels
        .flat_map(|l| &l.settings)
        .filter(|s| s.role == SettingRole::Coupled && s.address.to_string().ends_with("/nr_hugepages"))
        .collect();
    wanted.iter().find_map(|want| {
        let set = settings.iter().find(|s| s.address == want.address)?;
        let (have, need) = (number(set)?, number(want)?);
        (have < need).then(|| format!("{} = {have} is too small, the guest needs {need}", want.address))
    })
}
