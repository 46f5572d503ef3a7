//! How long a guest may take before it is given up.

use std::time::Duration;

/// A user's guest to boot or to shut down before it is switched off: what libvirt-guests gives (`SHUTDOWN_TIMEOUT`),
/// because switching off may cost data.
pub(super) const WITH_USER: Duration = Duration::from_mins(5);

/// A lab guest when none has booted yet. Emulated on a host that is itself emulated, it needs more than a minute.
const FIRST: Duration = Duration::from_mins(3);

/// Later ones have as many times what the first took: a kernel that hangs is then found soon.
const FACTOR: u32 = 10;

/// But they have this at least: another kernel or machine type boots in another time.
const LEAST: Duration = Duration::from_mins(1);

/// A lab guest's limit to boot, given what the first one of this session took.
pub(super) fn with_lab(first: Option<Duration>) -> Duration {
    first.map_or(FIRST, |first| (first * FACTOR).clamp(LEAST, WITH_USER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_boot_sets_the_pace() {
        assert_eq!(with_lab(None), FIRST);
        assert_eq!(with_lab(Some(Duration::from_secs(4))), LEAST);
        assert_eq!(with_lab(Some(Duration::from_secs(20))), Duration::from_secs(200));
        assert_eq!(with_lab(Some(Duration::from_mins(2))), WITH_USER);
    }
}
