//! The measured quantities an experiment is about. Knows nothing of how they are measured or compared.

use serde::{Deserialize, Serialize};

/// Which direction of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// More is better, as for throughput.
    Maximize,
    /// Less is better, as for latency.
    Minimize,
}
