//! Settings of the lab's other guests: `neighbour:hog/domain.cpu.quota`.
//!
//! Knows which settings of a domain have the same meaning for every guest; does not know who the neighbours are.

use super::{DomainSetting, Home, Tunable, ValueError, catalogue};
use serde::{Deserialize, Serialize};

/// A live setting of a neighbour's domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NeighbourSetting {
    /// Which neighbour.
    pub neighbour: String,
    /// What of it.
    pub setting: DomainSetting,
}

impl std::fmt::Display for NeighbourSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of neighbour {}", self.setting, self.neighbour)
    }
}

/// The tunable behind `NAME/TUNABLE`: that of the catalogue, of another guest. Pins are maps of the guest's own vCPUs, and
/// bounds between limits are judged for the guest alone, so only parameters are taken.
pub(super) fn of_neighbour(rest: &str) -> Result<Tunable, ValueError> {
    let wrong = |expected| ValueError::new(rest, expected);
    let (name, tunable) = rest
        .split_once('/')
        .ok_or_else(|| wrong("a neighbour and a tunable, such as `hog/domain.cpu.quota`"))?;
    if !crate::decode::is_name(name) {
        return Err(wrong("a neighbour's name, `/` and a tunable"));
    }
    let found = catalogue().iter().find(|t| t.name == tunable);
    match found.map(|t| (t, &t.home)) {
        Some((known, Home::Domain(setting @ DomainSetting::Parameter(..)))) => Ok(Tunable {
            name: format!("neighbour:{rest}"),
            home: Home::Neighbour(NeighbourSetting {
                neighbour: name.to_string(),
                setting: setting.clone(),
            }),
            ..known.clone()
        }),
        _ => Err(wrong(
            "a live limit, share or weight of a domain, such as `hog/domain.cpu.quota` or `hog/domain.blkio.weight`",
        )),
    }
}
