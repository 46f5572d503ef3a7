//! Whether the host was booted for the whole plot that comes next.
//!
//! Reads the kernel's command line; does not know how another one is arranged for.

use super::{RunError, Runner};
use crate::design::{Block, BootAt, WholePlot};
use crate::event::{Drift, Event, Outcome, Stage};
use crate::host::Host;
use crate::tunable::Setting;

/// So many boots are made for one boot of the plan; when none of them took, its trials are invalid, or the host would be
/// booted for ever.
pub const ATTEMPTS: u32 = 2;

/// What the boot of the host that a run finds itself in was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThisBoot {
    /// Nothing of this run's: the host was up when it began.
    #[default]
    Found,
    /// A boot of its plan.
    Made {
        /// Which one.
        at: BootAt,
        /// How many boots were made for it, with this one.
        attempts: u32,
    },
}

/// Whether a whole plot can be measured in this boot.
pub(super) enum Fit {
    Yes,
    /// Not before the host was booted for it.
    Reboot(BootAt),
    /// Not at all: the boots that were made for it did not take.
    No(Outcome),
}

impl Runner<'_, '_> {
    /// Every boot of the plan is a boot of its own, also where the one before it had the same settings; only the warm-up
    /// may begin in the boot that was found, because it is not judged.
    pub(super) fn fit(
        &mut self,
        host: &mut dyn Host,
        block: &Block,
        plot: &WholePlot,
    ) -> Result<Fit, RunError> {
        let settings = self.task.header.plan.boot_settings(plot);
        if settings.is_empty() {
            return Ok(Fit::Yes);
        }
        let at = BootAt {
            block: block.number,
            boot: plot.boot,
        };
        let drift = match drifts(host, settings) {
            Ok(drift) => drift,
            Err(outcome) => return Ok(Fit::No(outcome)),
        };
        let (made, attempts) = match self.task.boot {
            ThisBoot::Made { at, attempts } => (Some(at), attempts),
            ThisBoot::Found => (None, 0),
        };
        let is_warm_up = made.is_none() && block.number == 0;
        Ok(match drift.as_slice() {
            [] if made == Some(at) || is_warm_up => Fit::Yes,
            [first, ..] if made == Some(at) => {
                let text = format!(
                    "boot {attempts} for block {} did not take: {} is `{}` and should be `{}`",
                    block.number, first.address, first.found, first.wanted
                );
                self.say(&Event::Notice { text })?;
                if attempts < ATTEMPTS {
                    Fit::Reboot(at)
                } else {
                    Fit::No(Outcome::Invalid { drift })
                }
            }
            _ => Fit::Reboot(at),
        })
    }
}

/// The boot settings that the running kernel does not have.
fn drifts(host: &mut dyn Host, settings: &[Setting]) -> Result<Vec<Drift>, Outcome> {
    let mut drift = Vec::new();
    for setting in settings {
        let raw = host.read(&setting.address).map_err(|error| Outcome::Failed {
            stage: Stage::Verify,
            message: error.to_string(),
        })?;
        if setting.canonical(&raw).as_ref() != Some(&setting.value) {
            drift.push(Drift {
                address: setting.address.to_string(),
                wanted: setting.value.to_string(),
                found: setting.address.selected(&raw).to_string(),
                during: false,
                actors: host.actors(&setting.address),
            });
        }
    }
    Ok(drift)
}
