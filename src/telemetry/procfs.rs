//! The texts of /proc and /sys that counters are read from. A text that is not as the kernel writes it gives nothing.
//!
//! Sources: Documentation/filesystems/proc.rst, scheduler/sched-stats.rst, accounting/psi.rst and block/stat.rst of the
//! kernel.

/// Bytes of a sector, whatever the device's own are.
const SECTOR: u64 = 512;

/// What the threads of a QEMU are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadClass {
    /// Runs a virtual CPU.
    Vcpu,
    /// Waits for requests of disks, or carries them out.
    Io,
    /// The main loop.
    Emulator,
    /// Moves packets or requests in the kernel.
    Vhost,
    /// Anything else.
    Other,
}

/// The class of a thread by its name; QEMU names its threads when it is started with `debug-threads=on`, as libvirt does.
pub fn class_of(name: &str, is_main: bool) -> ThreadClass {
    let name = name.trim();
    if is_main {
        ThreadClass::Emulator
    } else if name.starts_with("CPU ") {
        ThreadClass::Vcpu
    } else if name.starts_with("vhost-") {
        ThreadClass::Vhost
    } else if name == "IO mon_iothread" {
        ThreadClass::Other
    } else if name.starts_with("IO ") || name == "worker" || name.starts_with("iou-") {
        ThreadClass::Io
    } else {
        ThreadClass::Other
    }
}

/// One thread's time on CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    /// Time on a CPU, in ns.
    pub ran: u64,
    /// Time in which it could run and had none, in ns.
    pub waited: u64,
    /// Times it was put on one.
    pub turns: u64,
}

/// `/proc/PID/task/TID/schedstat`.
pub fn schedule(text: &str) -> Option<Schedule> {
    let mut numbers = text.split_ascii_whitespace().map(|w| w.parse().ok());
    Some(Schedule {
        ran: numbers.next()??,
        waited: numbers.next()??,
        turns: numbers.next()??,
    })
}

/// User and system time of a process with the threads that ended, in clock ticks: `/proc/PID/stat`.
pub fn process_ticks(text: &str) -> Option<u64> {
    // The name may hold anything, also parentheses and blanks.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// Of `/proc/stat`: busy time and stolen time of all CPUs in clock ticks, and context switches.
pub fn kernel_times(text: &str) -> Option<(u64, u64, u64)> {
    let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name));
    let times: Option<Vec<u64>> = line("cpu ")?
        .split_ascii_whitespace()
        .map(|w| w.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is a part of user time.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = times?[..] else {
        return None;
    };
    let busy = [user, nice, system, irq, softirq]
        .into_iter()
        .try_fold(0u64, u64::checked_add)?;
    let switches = line("ctxt ")?.trim().parse().ok()?;
    Some((busy, steal, switches))
}

/// Of `/proc/stat`: the interrupts that all CPUs served.
pub fn interrupts(text: &str) -> Option<u64> {
    let all = text.lines().find_map(|l| l.strip_prefix("intr "))?;
    all.split_ascii_whitespace().next()?.parse().ok()
}

/// Of a file of `/proc/pressure`: the time in which some task waited, in µs.
pub fn stalled(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|l| l.strip_prefix("some "))?;
    some.split_ascii_whitespace()
        .find_map(|w| w.strip_prefix("total="))?
        .parse()
        .ok()
}

/// Of `/sys/block/NAME/stat`: bytes read, bytes written, reads, writes.
pub fn block_bytes(text: &str) -> Option<[u64; 4]> {
    let numbers: Option<Vec<u64>> = text
        .split_ascii_whitespace()
        .take(8)
        .map(|w| w.parse().ok())
        .collect();
    let [reads, _, read, _, writes, _, written, _] = numbers?[..] else {
        return None;
    };
    Some([
        read.checked_mul(SECTOR)?,
        written.checked_mul(SECTOR)?,
        reads,
        writes,
    ])
}

/// Of `/proc/PID/net/dev`: the bytes a link of this name received and sent.
pub fn link_bytes(text: &str, device: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        (name.trim() == device).then_some(rest)
    })?;
    let mut numbers = line.split_ascii_whitespace().map(|w| w.parse().ok());
    Some((numbers.next()??, numbers.nth(7)??))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NET: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
 vnet0: 1234567     890    0    0    0     0          0         0  7654321     321    0    0    0     0       0          0
";

    #[test]
    fn what_the_kernel_writes_is_read() {
        let schedule = schedule("2693120 41 7\n").unwrap();
        assert_eq!(
            (schedule.ran, schedule.waited, schedule.turns),
            (2_693_120, 41, 7)
        );
        let stat = "77 (qemu) system) S 1 77 77 0 -1 4194560 100 0 0 0 250 40 0 0 20 0 9 0 5000 1 2";
        assert_eq!(process_ticks(stat), Some(290));
        let kernel =
            "cpu  10 1 5 900 3 2 4 6 99 0\ncpu0 10 1 5 900 3 2 4 6 99 0\nintr 5\nctxt 4711\nbtime 1\n";
        assert_eq!(kernel_times(kernel), Some((22, 6, 4711)));
        let pressure = "some avg10=63.31 avg60=45.61 avg300=20.06 total=7338199841\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!(stalled(pressure), Some(7_338_199_841));
        let block = "     10        1     2048      5      20       2     4096       9        0       14       14        0\n";
        assert_eq!(block_bytes(block), Some([2048 * 512, 4096 * 512, 10, 20]));
        assert_eq!(link_bytes(NET, "vnet0"), Some((1_234_567, 7_654_321)));
        assert_eq!(link_bytes(NET, "vnet"), None);
    }

    #[test]
    fn threads_are_known_by_their_names() {
        let class = |name| class_of(name, false);
        assert_eq!(class("CPU 0/KVM\n"), ThreadClass::Vcpu);
        assert_eq!(class("CPU 11/TCG"), ThreadClass::Vcpu);
        assert_eq!(class("IO iothread1"), ThreadClass::Io);
        assert_eq!(class("IO mon_iothread"), ThreadClass::Other);
        assert_eq!(class("worker"), ThreadClass::Io);
        assert_eq!(class("iou-wrk-812"), ThreadClass::Io);
        assert_eq!(class("vhost-4711"), ThreadClass::Vhost);
        assert_eq!(class("call_rcu"), ThreadClass::Other);
        assert_eq!(class_of("CPU 0/KVM", true), ThreadClass::Emulator);
    }

    #[test]
    fn what_is_cut_off_or_too_large_gives_nothing() {
        assert_eq!(schedule("1 2"), None);
        assert_eq!(schedule("1 2 99999999999999999999999"), None);
        assert_eq!(process_ticks("77 qemu S 1"), None);
        assert_eq!(kernel_times("cpu  1 2 3\nctxt 4\n"), None);
        assert_eq!(kernel_times("ctxt 4\n"), None);
        assert_eq!(interrupts("cpu 1\nintr 815 4 0 11\n"), Some(815));
        assert_eq!(interrupts("intr \nintr x\n"), None);
        assert_eq!(block_bytes("1 2 3"), None);
        assert_eq!(block_bytes(&format!("1 1 {} 1 1 1 1 1", u64::MAX)), None);
        assert_eq!(link_bytes("vnet0: 1 2 3", "vnet0"), None);
        assert_eq!(stalled("full total=3"), None);
    }

    fn read_all(text: &str) {
        let _ = schedule(text);
        let _ = process_ticks(text);
        let _ = kernel_times(text);
        let _ = interrupts(text);
        let _ = stalled(text);
        let _ = block_bytes(text);
        let _ = link_bytes(text, "vnet0");
        let _ = class_of(text, false);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*", lines in "([a-z]{0,5}[ :=()\n]?[0-9]{0,21}[ \n]){0,40}") {
            read_all(&text);
            read_all(&lines);
        }

        #[test]
        fn numbers_come_back_as_they_were_written(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            let read = schedule(&format!("{a} {b} {c}\n")).unwrap();
            prop_assert_eq!((read.ran, read.waited, read.turns), (a, b, c));
            let net = format!("h\nh\n  tap0:{a} 0 0 0 0 0 0 0 {b} 0 0 0 0 0 0 0\n");
            prop_assert_eq!(link_bytes(&net, "tap0"), Some((a, b)));
            let pressure = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={c}\n");
            prop_assert_eq!(stalled(&pressure), Some(c));
        }

        #[test]
        fn a_cut_text_gives_less_and_never_other_numbers(cut in 0usize..NET.len()) {
            let whole = link_bytes(NET, "vnet0").unwrap();
            if let Some((received, sent)) = link_bytes(&NET[..cut], "vnet0") {
                prop_assert_eq!(received, whole.0);
                prop_assert!(sent <= whole.1);
            }
        }
    }
}
