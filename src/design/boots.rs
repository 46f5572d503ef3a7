//! The boots of the host in a plan: how many there are, and what each is made with.

use super::{Block, BootAt, Plan, WholePlot};
use crate::tunable::Setting;

impl Plan {
    /// True when some treatment needs a boot of the host.
    pub fn needs_reboots(&self) -> bool {
        self.treatments.iter().any(|t| !t.boot.is_empty())
    }

    /// Number of reboots of the host, the one after the last block among them, which gives it back its own command line.
    /// The warm-up begins in the boot there is, if that fits: then it is one less.
    pub fn reboots(&self) -> usize {
        if !self.needs_reboots() {
            return 0;
        }
        let of_block = |b: &Block| b.plots.last().map_or(0, |p| p.boot as usize + 1);
        self.blocks.iter().map(of_block).sum::<usize>() + 1
    }

    /// What the host is booted with for a whole plot; empty when no factor needs a boot.
    pub fn boot_settings(&self, plot: &WholePlot) -> &[Setting] {
        let first = plot.treatments.first();
        first.map_or(&[], |&t| &self.treatments[t].boot)
    }

    /// What a boot of the plan is made with.
    pub fn boot_settings_at(&self, at: BootAt) -> &[Setting] {
        let block = self.blocks.iter().find(|b| b.number == at.block);
        let plot = block.and_then(|b| b.plots.iter().find(|p| p.boot == at.boot));
        plot.map_or(&[], |plot| self.boot_settings(plot))
    }
}
