//! Live limits of a domain that exclude or bound each other, and the order in which they can be set.
//!
//! Pure: what no setting names is taken from the readings.

use super::Setting;
use crate::facts::Facts;
use crate::tunable::{Address, DomainSetting, Home, ParameterGroup, Tunable};

/// The limits of a disk of which the first excludes the others.
///
/// Source: QEMU util/throttle.c, "bps/iops/max total values and read/write values cannot be used at the same time".
const THROTTLES: [[&str; 3]; 2] = [
    ["total_bytes_sec", "read_bytes_sec", "write_bytes_sec"],
    ["total_iops_sec", "read_iops_sec", "write_iops_sec"],
];

/// The threads of a guest that have a bandwidth of their own within that of the whole.
const THREADS: [&str; 3] = ["vcpu", "emulator", "iothread"];
const WHOLE: &str = "global";

const HARD: &str = "hard_limit";
const SWAP: &str = "swap_hard_limit";

fn limit(group: ParameterGroup, field: &str) -> Address {
    Address::Domain(DomainSetting::Parameter(group, field.into()))
}

fn throttle(field: &str) -> Address {
    limit(ParameterGroup::Throttle, field)
}

fn memory(field: &str) -> Address {
    limit(ParameterGroup::Memory, field)
}

/// Quota and period.
fn bandwidth(of: &str) -> [Address; 2] {
    ["quota", "period"].map(|part| limit(ParameterGroup::Scheduler, &format!("{of}_{part}")))
}

impl Tunable {
    /// The places of this tunable's limit and of those it is bounded by.
    pub(super) fn bounding(&self) -> Vec<Address> {
        let Home::Domain(DomainSetting::Parameter(group, field)) = &self.home else {
            return Vec::new();
        };
        let families: Vec<Vec<Address>> = match group {
            ParameterGroup::Throttle => THROTTLES.iter().map(|f| f.map(throttle).to_vec()).collect(),
            ParameterGroup::Memory => vec![[HARD, SWAP].map(memory).to_vec()],
            ParameterGroup::Scheduler => vec![
                THREADS
                    .iter()
                    .chain([&WHOLE])
                    .flat_map(|of| bandwidth(of))
                    .collect(),
            ],
            ParameterGroup::Blkio => Vec::new(),
        };
        let own = limit(*group, field);
        let mut family = families
            .into_iter()
            .find(|f| f.contains(&own))
            .unwrap_or_default();
        family.retain(|other| *other != own);
        family
    }
}

/// Why limits cannot hold together; `None` when they can, or none of them is set.
pub(super) fn conflict(settings: &[Setting], facts: &Facts) -> Option<String> {
    let throttles = THROTTLES.iter().find_map(|f| exclusion(*f, settings, facts));
    let memory = || swap_below_memory(settings, facts);
    throttles
        .or_else(memory)
        .or_else(|| more_than_the_whole(settings, facts))
}

fn exclusion([total, read, write]: [&str; 3], settings: &[Setting], facts: &Facts) -> Option<String> {
    if !any_set(settings, &[total, read, write].map(throttle)) {
        return None;
    }
    let value = |field| value(settings, facts, &throttle(field)).unwrap_or(0);
    let other = [read, write].into_iter().find(|field| value(field) > 0)?;
    (value(total) > 0).then(|| {
        format!(
            "QEMU takes either a total limit or one of reads and writes, not {total} = {} with {other} = {}; set one \
             of them to 0",
            value(total),
            value(other)
        )
    })
}

fn swap_below_memory(settings: &[Setting], facts: &Facts) -> Option<String> {
    let [hard, swap] = [HARD, SWAP].map(memory);
    if !any_set(settings, &[hard.clone(), swap.clone()]) {
        return None;
    }
    // A limit is never 0: there it was not read.
    let value = |address| value(settings, facts, address).filter(|number| *number > 0);
    let (hard, swap) = (value(&hard)?, value(&swap)?);
    (swap < hard).then(|| {
        format!(
            "domain.memory.swap-hard-limit counts memory and swap together, so {swap} KiB cannot be below \
             domain.memory.hard-limit, which is {hard} KiB; set both"
        )
    })
}

/// CPU time in a period.
#[derive(Debug, Clone, Copy)]
struct Share {
    quota: u64,
    period: u64,
}

impl Share {
    /// `None` without a limit.
    fn of(threads: &str, settings: &[Setting], facts: &Facts) -> Option<Self> {
        let [quota, period] = bandwidth(threads);
        Some(Self {
            quota: value(settings, facts, &quota).filter(|quota| *quota > 0)?,
            period: value(settings, facts, &period)
                .filter(|period| *period > 0)
                .unwrap_or(100_000),
        })
    }

    fn is_more_than(self, other: Self) -> bool {
        u128::from(self.quota) * u128::from(other.period) > u128::from(other.quota) * u128::from(self.period)
    }
}

/// The kernel refuses it in cgroups of version 1; in version 2 the larger limit is never reached.
///
/// Source: `tg_cfs_schedulable_down` in kernel/sched/core.c.
fn more_than_the_whole(settings: &[Setting], facts: &Facts) -> Option<String> {
    let whole = Share::of(WHOLE, settings, facts)?;
    let threads = THREADS.iter().find(|threads| {
        let places = [bandwidth(threads), bandwidth(WHOLE)].concat();
        any_set(settings, &places)
            && Share::of(threads, settings, facts).is_some_and(|share| share.is_more_than(whole))
    })?;
    let share = Share::of(threads, settings, facts)?;
    let name = match *threads {
        "vcpu" => "domain.cpu.quota".to_string(),
        other => format!("domain.cpu.{other}-quota"),
    };
    Some(format!(
        "{name} and its period allow {}/{}, which is more than domain.cpu.global-quota allows the whole guest, {}/{}",
        share.quota, share.period, whole.quota, whole.period
    ))
}

fn any_set(settings: &[Setting], addresses: &[Address]) -> bool {
    addresses.iter().any(|address| set(settings, address).is_some())
}

fn set<'s>(settings: &'s [Setting], address: &Address) -> Option<&'s str> {
    let found = settings.iter().rev().find(|s| s.address == *address);
    found.map(|s| s.value.as_str())
}

fn value(settings: &[Setting], facts: &Facts, address: &Address) -> Option<u64> {
    let text = set(settings, address).or_else(|| facts.reading(address))?;
    text.trim().parse().ok()
}

/// Sorts what bounds each other among the places it has.
pub(super) fn order(settings: &mut [Setting], facts: &Facts) {
    for family in THROTTLES {
        let addresses = family.map(throttle);
        // What a limit excludes is taken away before it is set.
        sort(settings, &addresses, |s| s.value.as_str() != "0");
    }
    let addresses = [HARD, SWAP].map(memory);
    let (hard, swap) = (set(settings, &addresses[0]), facts.reading(&addresses[1]));
    let number = |text: Option<&str>| text.and_then(|t| t.trim().parse::<u64>().ok()).filter(|n| *n > 0);
    let raises = number(swap).is_some_and(|old| number(hard).is_some_and(|new| new > old));
    let hard = addresses[0].clone();
    sort(settings, &addresses, |s| (s.address == hard) == raises);
    let whole = Share::of(WHOLE, &[], facts);
    let more = |threads: &str| {
        let share = Share::of(threads, settings, facts);
        // Without a limit of their own they have that of the whole.
        share
            .zip(whole)
            .is_some_and(|(share, whole)| share.is_more_than(whole))
    };
    let raises = THREADS.iter().any(|threads| more(threads));
    let addresses: Vec<_> = THREADS
        .iter()
        .chain([&WHOLE])
        .flat_map(|of| bandwidth(of))
        .collect();
    sort(settings, &addresses, |s| {
        bandwidth(WHOLE).contains(&s.address) != raises
    });
}

/// Those of `settings` that are at `addresses`, in the order of a key, in the same places.
fn sort(settings: &mut [Setting], addresses: &[Address], key: impl Fn(&Setting) -> bool) {
    let places: Vec<_> = (0..settings.len())
        .filter(|i| addresses.contains(&settings[*i].address))
        .collect();
    let mut sorted: Vec<_> = places.iter().map(|i| settings[*i].clone()).collect();
    sorted.sort_by_key(&key);
    for (place, setting) in places.into_iter().zip(sorted) {
        settings[place] = setting;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::tunable::lookup;

    fn setting(name: &str, text: &str) -> Setting {
        let tunable = lookup(name).unwrap();
        let address = tunable.address(&Facts::default()).unwrap();
        Setting::own(address, tunable.kind.parse(text).unwrap(), tunable.kind)
    }

    fn read(name: &str, text: &str) -> Facts {
        let address = setting(name, text).address.to_string();
        Facts {
            readings: [(address, text.to_string())].into(),
            ..Facts::default()
        }
    }

    fn conflict_of(settings: &[Setting], facts: &Facts) -> Option<String> {
        Setting::conflict(settings, facts)
    }

    #[test]
    fn a_total_excludes_reads_and_writes_of_its_kind() {
        let total = setting("domain.disk.throttle.total-iops", "500");
        let read_iops = setting("domain.disk.throttle.read-iops", "100");
        let bytes = setting("domain.disk.throttle.write-bytes", "1M");
        let none = Facts::default();
        assert_eq!(conflict_of(&[total.clone(), bytes], &none), None);
        let why = conflict_of(&[total.clone(), read_iops.clone()], &none).unwrap();
        assert!(
            why.contains("total_iops_sec = 500 with read_iops_sec = 100"),
            "{why}"
        );
        let ambient = read("domain.disk.throttle.total-iops", "500");
        assert!(conflict_of(std::slice::from_ref(&read_iops), &ambient).is_some());
        let off = setting("domain.disk.throttle.total-iops", "0");
        assert_eq!(conflict_of(&[read_iops.clone(), off.clone()], &ambient), None);
        assert_eq!(conflict_of(&[], &ambient), None);

        let mut settings = vec![read_iops.clone(), total.clone(), off.clone()];
        Setting::in_safe_order(&mut settings, &ambient);
        assert_eq!(settings, [off, read_iops, total]);
    }

    #[test]
    fn threads_have_no_more_cpu_time_than_the_whole_guest() {
        let vcpu = |quota: &str| setting("domain.cpu.quota", quota);
        let whole = |quota: &str| setting("domain.cpu.global-quota", quota);
        let none = Facts::default();
        assert_eq!(conflict_of(&[vcpu("50000"), whole("50000")], &none), None);
        assert_eq!(conflict_of(&[vcpu("-1"), whole("50000")], &none), None);
        let why = conflict_of(&[vcpu("60000"), whole("50000")], &none).unwrap();
        assert!(
            why.contains("domain.cpu.quota and its period allow 60000/100000"),
            "{why}"
        );
        let period = setting("domain.cpu.global-period", "50000");
        assert_eq!(conflict_of(&[vcpu("60000"), whole("50000"), period], &none), None);
        let ambient = read("domain.cpu.global-quota", "50000");
        assert!(conflict_of(&[vcpu("60000")], &ambient).is_some());

        let order = |settings: [Setting; 2]| {
            let mut settings = settings.to_vec();
            Setting::in_safe_order(&mut settings, &ambient);
            settings
                .into_iter()
                .map(|s| s.value.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(order([vcpu("60000"), whole("70000")]), ["70000", "60000"]);
        assert_eq!(order([whole("40000"), vcpu("30000")]), ["30000", "40000"]);
    }

    #[test]
    fn every_limit_is_read_with_those_that_bound_it() {
        let bounding = |name: &str| lookup(name).unwrap().bounding().len();
        assert_eq!(bounding("domain.disk.throttle.read-bytes"), 2);
        assert_eq!(bounding("domain.memory.swap-hard-limit"), 1);
        assert_eq!(bounding("domain.memory.soft-limit"), 0);
        assert_eq!(bounding("domain.cpu.iothread-quota"), 7);
        assert_eq!(bounding("domain.cpu.shares"), 0);
        assert_eq!(bounding("domain.cpu.pin"), 0);
    }

    #[test]
    fn memory_with_swap_is_not_less_than_memory() {
        let hard = |kib: &str| setting("domain.memory.hard-limit", kib);
        let swap = |kib: &str| setting("domain.memory.swap-hard-limit", kib);
        let unlimited = read("domain.memory.hard-limit", "9007199254740991");
        let why = conflict_of(&[swap("2000000")], &unlimited).unwrap();
        assert!(why.contains("2000000 KiB cannot be below"), "{why}");
        assert_eq!(conflict_of(&[swap("2000000"), hard("1000000")], &unlimited), None);
        assert_eq!(conflict_of(&[hard("1000000")], &Facts::default()), None);

        let order = |facts: &Facts| {
            let mut settings = vec![swap("3000000"), hard("2000000")];
            Setting::in_safe_order(&mut settings, facts);
            settings
                .into_iter()
                .map(|s| s.value.to_string())
                .collect::<Vec<_>>()
        };
        let down = read("domain.memory.swap-hard-limit", "9007199254740991");
        assert_eq!(order(&down), ["2000000", "3000000"]);
        let up = read("domain.memory.swap-hard-limit", "1500000");
        assert_eq!(order(&up), ["3000000", "2000000"]);
    }
}
