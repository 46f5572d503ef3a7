//! Kills at random moments of whole runs: each time the originals are back, nothing is left on the host, and no trial that
//! was stored is lost.
//!
//! `make kills` makes 200 of them; the test a few.

use crate::place::{Place, kernel_value, script, wait_until};
use kvmtune::event::TrialRecord;
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::time::{Duration, Instant};

/// Live and restart settings, of host, domain and guest.
const EXPERIMENT: &str = r#"
factor = [
    { tunable = "sysctl:vm.vfs_cache_pressure", levels = [100, 117] },
    { tunable = "host.net.tcp-rmem", levels = ["4096 131072 16MiB"] },
    { tunable = "host.disk.read-ahead-kb", levels = [64, 128] },
    { tunable = "domain.disk.io", levels = ["threads", "native"] },
    { tunable = "domain.cpu.shares", levels = [1024, 2048] },
    { tunable = "guest.swappiness", levels = [60, 10] },
]
workload = { use = "load" }
design = { kind = "one-at-a-time", blocks = 8 }
"#;

/// A run is killed at the latest so long after its start.
const LONGEST: Duration = Duration::from_secs(20);

/// What a killed process held may be free a moment later.
const SOON: Duration = Duration::from_secs(20);

const FEW: u32 = 4;

fn kills() -> u32 {
    let asked = std::env::var("KVMTUNE_KILLS").ok();
    asked.map_or(FEW, |n| n.parse().expect("KVMTUNE_KILLS is a number"))
}

/// Settings of this machine that the run touches.
fn originals() -> Vec<String> {
    let mut all = vec![kernel_value("/proc/sys/vm/vfs_cache_pressure")];
    // Those of the real host's network, which a lab must never touch.
    all.push(kernel_value("/proc/sys/net/ipv4/tcp_rmem"));
    all.push(fs::read_to_string("/proc/mounts").unwrap());
    let loops = fs::read_dir("/sys/block").unwrap().flatten();
    let attached = loops.filter(|e| e.path().join("loop/backing_file").exists());
    let mut attached: Vec<_> = attached.map(|e| e.file_name().into_string().unwrap()).collect();
    attached.sort();
    all.extend(attached);
    all
}

fn is_all_over(place: &Place) -> bool {
    // It may have been killed before it made a journal.
    fs::read(place.path().join("state/journal.jsonl")).map_or(true, |journal| journal.is_empty())
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_left() {
    let Some(place) = Place::new(EXPERIMENT, &script("n=1;")) else {
        return;
    };
    let before = originals();
    let mut chance = ChaCha8Rng::seed_from_u64(20_261_126);
    let (mut known, mut runs): (Vec<TrialRecord>, u32) = (Vec::new(), 0);
    let (mut by_watchman, mut by_hand, mut slowest) = (0, 0, Duration::ZERO);
    for number in 0..kills() {
        let watched = number % 2 == 0;
        let dead_man = if watched { "5m" } else { "off" };
        // A run that came to its end, or a new one, in turn.
        let is_open = place.has_a_run() && place.newest().end.is_none();
        let what = if is_open { "--resume" } else { "experiment.toml" };
        let mut run = place.start(&["run", "--dead-man", dead_man, what]);
        let moment = chance.random_range(0..LONGEST.as_millis());
        let moment = Duration::from_millis(u64::try_from(moment).unwrap());
        let started = Instant::now();
        while started.elapsed() < moment && !run.has_ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let lab = place.lab();
        if !run.has_ended() {
            run.signal(Signal::SIGKILL);
        }
        drop(run);
        let killed = Instant::now();
        if watched {
            // Nobody does anything: the watchman does.
            wait_until("the watchman's work", || is_all_over(&place));
            by_watchman += 1;
        } else {
            let recovered = place.kvmtune(&["recover"]);
            assert!(recovered.status.success(), "{number}: {recovered:?}");
            by_hand += 1;
        }
        slowest = slowest.max(killed.elapsed());
        if let Some(lab) = lab {
            let gone = Instant::now() + SOON;
            while !place.remains(&lab).is_empty() && Instant::now() < gone {
                std::thread::sleep(Duration::from_millis(50));
            }
            let log = fs::read_to_string(place.path().join("state/watchman.log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(8).collect();
            let case = format!("kill {number} (watched: {watched}) after {moment:?}: {tail:#?}");
            assert_eq!(place.remains(&lab), Vec::<String>::new(), "{case}");
        }
        assert_eq!(originals(), before, "kill {number} after {moment:?}");
        if place.has_a_run() {
            let now = place.all_records();
            assert_eq!(
                &now[..known.len()],
                known,
                "kill {number}: what was stored is lost or changed"
            );
            known = now;
            runs = u32::try_from(place.count()).unwrap();
        }
    }
    eprintln!(
        "{} kills: {by_watchman} restored by the watchman, {by_hand} by recover, at most {slowest:.1?} after the kill; {} trials of \
         {runs} runs stored, none lost",
        kills(),
        known.len()
    );
}
