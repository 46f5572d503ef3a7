//! Levels from the size of memory: shares of it, page pools, connections that fit.

use super::words::{list, size};
use super::{Draft, Ground};
use crate::facts::Ram;
use crate::tunable::{Address, Format, Home, KernelFile, KernelSide, Kind, LevelError, Tunable, level};
use crate::units::Bytes;

/// One tracked connection (the tuning guide's figure), and its share of a hash with a quarter as many entries of 8 bytes.
const CONNECTION: u64 = 316;
const CONNECTION_HASH: u64 = 2;
const PAGE: u64 = 4096;

/// Pools may take this much of what is available: the host and QEMU itself need the rest.
fn for_pools(ram: Ram) -> u64 {
    ram.available.0 / 4 * 3
}

fn ram(on: &Ground<'_>) -> Result<(Ram, &'static str), LevelError> {
    let side = on.tunable.side();
    let whose = if side == Some(KernelSide::Guest) {
        "guest"
    } else {
        "host"
    };
    let ram = on.facts.ram(side);
    Ok((
        ram.ok_or_else(|| on.nothing(format!("the memory of the {whose} is not known")))?,
        whose,
    ))
}

fn shown(percents: &[u64], of: u64) -> String {
    let each: Vec<_> = percents
        .iter()
        .map(|p| format!("{p} % = {}", size(of / 100 * p)))
        .collect();
    list(&each)
}

/// Whole MiB, so that they stay the same when the kernel keeps a page more for itself.
pub(super) fn shares(on: &Ground<'_>, percents: &[u64]) -> Result<Draft, LevelError> {
    let (ram, whose) = ram(on)?;
    let total = ram.total.0;
    let in_unit = |bytes: u64| match on.tunable.unit.as_str() {
        "KiB" => bytes >> 10,
        _ => bytes,
    };
    let levels = percents
        .iter()
        .map(|p| in_unit((total / 100 * p) >> 20 << 20).to_string());
    let line = format!(
        "of the {whose}'s {}: {}, in whole MiB",
        size(total),
        shown(percents, total)
    );
    Ok(Draft::new(levels, line))
}

/// Dirty pages below the first are written too often; above the second, writing them out takes minutes.
const LEAST_DIRTY: u64 = 64 << 20;
const MOST_DIRTY: u64 = 16 << 30;

pub(super) fn percent(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let (ram, whose) = ram(on)?;
    let total = ram.total.0;
    let least = LEAST_DIRTY.min(total / 20);
    let mut percents: Vec<u64> = [1, 2, 5, 10, 20, 40, 60]
        .into_iter()
        .filter(|p| (least..=MOST_DIRTY).contains(&(total / 100 * p)))
        .collect();
    percents.truncate(5);
    let line = format!(
        "of the {whose}'s {}: {}; between {} and {}",
        size(total),
        shown(&percents, total),
        size(least),
        size(MOST_DIRTY)
    );
    Ok(Draft::new(percents.iter().map(ToString::to_string), line))
}

/// In the kernel's own proportion of low, pressure and high: `tcp_init_mem` in net/ipv4/tcp.c has 3, 4 and 6.
pub(super) fn tcp_memory(on: &Ground<'_>, percents: &[u64]) -> Result<Draft, LevelError> {
    let (ram, whose) = ram(on)?;
    let triple = |percent: &u64| {
        let high = ram.total.0 / 100 * percent / PAGE;
        format!("{} {} {high}", high / 2, high / 3 * 2)
    };
    let line = format!(
        "of the {whose}'s {}: {} as the most, in pages of {PAGE} bytes; pressure at 4/6 of that, low at 3/6",
        size(ram.total.0),
        shown(percents, ram.total.0)
    );
    Ok(Draft::new(percents.iter().map(triple), line))
}

/// Powers of two: the hash is used best so.
pub(super) fn connections(on: &Ground<'_>, percents: &[u64]) -> Result<Draft, LevelError> {
    let (ram, whose) = ram(on)?;
    let most = match on.tunable.kind {
        Kind::Integer { max, .. } => u64::try_from(max).unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    let fit = |percent: &u64| {
        let count = ram.total.0 / 100 * percent / (CONNECTION + CONNECTION_HASH);
        (1 << count.max(1).ilog2()).min(most)
    };
    let each: Vec<_> = percents
        .iter()
        .map(|p| format!("{p} % = {} for {}", size(ram.total.0 / 100 * p), fit(p)))
        .collect();
    let line = format!(
        "{CONNECTION} bytes a connection and {CONNECTION_HASH} of hash, of the {whose}'s {}: {}, the power of two that fits",
        size(ram.total.0),
        list(&each)
    );
    Ok(Draft::new(percents.iter().map(|p| fit(p).to_string()), line))
}

/// A pool of huge pages, told by its file.
struct Pool {
    page: u64,
    node: Option<u16>,
    side: KernelSide,
    free: Address,
}

impl Pool {
    fn of(tunable: &Tunable) -> Option<Self> {
        let Home::File(side, path, _) = &tunable.home else {
            return None;
        };
        Self::at(*side, path)
    }

    fn at(side: KernelSide, path: &KernelFile) -> Option<Self> {
        let number = |before: &str, after: &str| {
            let (_, tail) = path.as_str().split_once(before)?;
            tail.split_once(after)?.0.parse::<u64>().ok()
        };
        let (folder, _) = path.as_str().rsplit_once('/')?;
        let path = format!("{folder}/free_hugepages");
        let format = Format::Plain;
        Some(Self {
            page: number("/hugepages-", "kB/")? << 10,
            node: number("/node/node", "/").and_then(|n| n.try_into().ok()),
            side,
            free: match side {
                KernelSide::Host => Address::HostFile { path, format },
                KernelSide::Guest => Address::GuestFile { path, format },
            },
        })
    }
}

/// What must be read beside a pool to know how much of it is in use.
pub(crate) fn pool_reads(tunable: &Tunable) -> Option<Address> {
    (tunable.suggest == Some(super::Rule::Pool)).then(|| Pool::of(tunable).map(|pool| pool.free))?
}

/// Numbers of pages that are of use, and what they are for.
fn wanted(on: &Ground<'_>, pool: &Pool, ram: Ram) -> (Vec<u64>, String) {
    if pool.side == KernelSide::Guest {
        let shares = [8, 4, 2].map(|part| ram.total.0 / part / pool.page);
        let told = format!(
            "an eighth, a quarter and a half of the guest's {}",
            size(ram.total.0)
        );
        return (shares.to_vec(), told);
    }
    let guest = on.facts.guest_memory.0;
    let all = guest.div_ceil(pool.page);
    let nodes = on.facts.nodes.len().max(1) as u64;
    let told = format!("the guest's {}", size(guest));
    if pool.node.is_some() && nodes > 1 {
        return (vec![all.div_ceil(nodes), all], told);
    }
    (vec![all], told)
}

pub(super) fn pool(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let pool = Pool::of(on.tunable).ok_or_else(|| on.nothing("it is no pool of huge pages"))?;
    let (ram, whose) = ram(on)?;
    let now = on.number().ok_or_else(|| on.nothing("it could not be read"))?;
    let free = on.facts.reading(&pool.free).and_then(|f| f.trim().parse().ok());
    let used = now.saturating_sub(free.unwrap_or(now));
    let (wanted, basis) = wanted(on, &pool, ram);
    let node = on.facts.nodes.iter().find(|n| Some(n.id) == pool.node);
    let most = node.map_or(for_pools(ram), |n| for_pools(ram).min(n.memory.0 / 4 * 3));
    let fits = |pages: &u64| (used + pages).saturating_sub(now) <= most / pool.page;
    let (good, bad): (Vec<u64>, Vec<u64>) = wanted.into_iter().filter(|n| *n > 0).partition(fits);
    let pages = |counts: &[u64]| list(&counts.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut parts = vec![format!(
        "pages of {} for {basis}: {}",
        size(pool.page),
        pages(&good)
    )];
    if used > 0 {
        parts.push(format!("{used} are in use and stay"));
    }
    if !bad.is_empty() {
        parts.push(format!(
            "{} do not fit into the {} free for pools on the {whose}",
            pages(&bad),
            size(most)
        ));
    }
    let levels = std::iter::once(used).chain(good.iter().map(|n| used + n));
    Ok(Draft::new(levels.map(|n| n.to_string()), parts.join("; ")))
}

/// Each page size that the guest's memory can be taken from.
pub(super) fn backing(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let (ram, _) = ram(on)?;
    let most = for_pools(ram);
    let guest = on.facts.guest_memory.0;
    let mut draft = Draft::new(["off".to_string()], format!("the guest's {}", size(guest)));
    for (name, page) in [("2MiB", Bytes::mib(2)), ("1GiB", Bytes::mib(1024))] {
        let pages = guest.div_ceil(page.0);
        let need = pages * page.0;
        let told = format!("{pages} pages of {name} are {}", size(need));
        if need > most {
            draft.lines.push(format!(
                "{told}, more than 3/4 of the {} available: left out",
                size(ram.available.0)
            ));
        } else if level(on.tunable, name, on.facts).is_err() {
            draft.lines.push(format!("the host has no pool of {name} pages"));
        } else {
            draft
                .lines
                .push(format!("{told}, of {} available", size(ram.available.0)));
            draft.levels.push(name.into());
        }
    }
    draft.lines = vec![draft.lines.join("; ")];
    Ok(draft)
}
