//! Which host CPUs the threads of a guest may run on, as the kernel holds it, and pinning them.
//!
//! Knows QEMU's threads by what its monitor and their cgroups say; does not know levels.

use super::qemu::query;
use super::{agreed, one_or_all};
use crate::host::HostError;
use crate::host::libvirt::Domain;
use crate::tunable::CpuSet;
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// CPU sets of the vCPU threads.
pub(super) fn vcpu_pins(domain: &Domain) -> Result<String, HostError> {
    let fail = |cause: String| HostError::new(format!("read vCPU affinities of {}", domain.name()), cause);
    let told = domain.vcpu_pins().map_err(|e| fail(e.to_string()))?;
    let told = (0u32..).zip(told);
    let held = affinities(domain, &vcpu_threads(domain)?).map_err(fail)?;
    Ok(agreed(&map(told), &map(held)))
}

/// CPU sets of the I/O threads.
pub(super) fn iothread_pins(domain: &Domain) -> Result<String, HostError> {
    let fail =
        |cause: String| HostError::new(format!("read I/O thread affinities of {}", domain.name()), cause);
    let threads = iothreads(domain)?;
    if threads.is_empty() {
        return Err(fail("the domain has no I/O thread".into()));
    }
    let told = domain.iothread_pins().map_err(|e| fail(e.to_string()))?;
    let held = affinities(domain, &threads).map_err(fail)?;
    Ok(agreed(&map(told), &map(held)))
}

/// The CPU set of QEMU's other threads, which must all have the same.
pub(super) fn emulator_pin(domain: &Domain) -> Result<String, HostError> {
    let fail = |cause: String| {
        HostError::new(
            format!("read the emulator's affinity of {}", domain.name()),
            cause,
        )
    };
    let told = domain.emulator_pin().map_err(|e| fail(e.to_string()))?;
    let online = online().map_err(fail)?;
    let pid = domain.qemu_pid().map_err(|e| fail(e.to_string()))?;
    let mut held = Vec::new();
    for thread in emulator_threads(domain, pid)? {
        // Workers come and go.
        if let Ok(cpus) = affinity(pid, thread) {
            held.push((format!("thread {thread}"), within(&cpus, &online).to_string()));
        }
    }
    Ok(agreed(&within(&told, &online).to_string(), &one_or_all(&held)))
}

/// Lets each vCPU named in `pins` use only its CPUs.
pub(super) fn pin_vcpus(domain: &Domain, pins: &str) -> Result<(), String> {
    each(pins, |vcpu, cpus| {
        domain.pin_vcpu(vcpu, cpus).map_err(|e| e.to_string())
    })
}

/// Lets each I/O thread named in `pins` use only its CPUs.
pub(super) fn pin_iothreads(domain: &Domain, pins: &str) -> Result<(), String> {
    each(pins, |id, cpus| {
        domain.pin_iothread(id, cpus).map_err(|e| e.to_string())
    })
}

/// Lets QEMU's other threads use only `cpus`.
///
/// libvirt pins the main thread, and the others by their cgroup only: one without a cpuset, and one that was started
/// while the main thread was pinned, would keep what it has.
pub(super) fn pin_emulator(domain: &Domain, cpus: &str) -> Result<(), String> {
    let cpus: CpuSet = cpus.parse().map_err(|e| format!("{e}"))?;
    domain.pin_emulator(&cpus).map_err(|e| e.to_string())?;
    let pid = domain.qemu_pid().map_err(|e| e.to_string())?;
    let mut mask = nix::sched::CpuSet::new();
    for cpu in cpus.iter() {
        mask.set(usize::from(cpu)).map_err(|e| e.to_string())?;
    }
    for thread in emulator_threads(domain, pid).map_err(|e| e.to_string())? {
        // What could not be set is found when it is read back.
        let _ = nix::sched::sched_setaffinity(Pid::from_raw(thread.cast_signed()), &mask);
    }
    Ok(())
}

fn each(pins: &str, pin: impl Fn(u32, &CpuSet) -> Result<(), String>) -> Result<(), String> {
    for entry in pins.split_whitespace() {
        let (number, cpus) = entry.split_once('=').unwrap_or((entry, ""));
        let number = number.parse().map_err(|e| format!("{entry}: {e}"))?;
        let cpus: CpuSet = cpus.parse().map_err(|e| format!("{entry}: {e}"))?;
        pin(number, &cpus)?;
    }
    Ok(())
}

fn map(pins: impl IntoIterator<Item = (u32, CpuSet)>) -> String {
    let written: Vec<_> = pins
        .into_iter()
        .map(|(number, cpus)| format!("{number}={cpus}"))
        .collect();
    written.join(" ")
}

fn affinities(domain: &Domain, threads: &BTreeMap<u32, u32>) -> Result<Vec<(u32, CpuSet)>, String> {
    let pid = domain.qemu_pid().map_err(|e| e.to_string())?;
    let online = online()?;
    threads
        .iter()
        .map(|(number, thread)| Ok((*number, within(&affinity(pid, *thread)?, &online))))
        .collect()
}

fn affinity(pid: u32, thread: u32) -> Result<CpuSet, String> {
    let path = format!("/proc/{pid}/task/{thread}/status");
    let status = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let list = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    list.parse().map_err(|e| format!("{path}: {e}"))
}

/// A thread nobody pinned may use CPUs that are not there.
fn within(cpus: &CpuSet, online: &CpuSet) -> CpuSet {
    CpuSet(cpus.0.intersection(&online.0).copied().collect())
}

fn online() -> Result<CpuSet, String> {
    let path = "/sys/devices/system/cpu/online";
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    text.trim().parse().map_err(|e| format!("{path}: {e}"))
}

fn vcpu_threads(domain: &Domain) -> Result<BTreeMap<u32, u32>, HostError> {
    let threads = numbered(&query(domain, "query-cpus-fast")?, |cpu| {
        cpu.get("cpu-index")?.as_u64()
    });
    threads.filter(|t| !t.is_empty()).ok_or_else(|| {
        HostError::new(
            format!("ask the QEMU of {} for its vCPU threads", domain.name()),
            "the answer has none",
        )
    })
}

/// The threads of the I/O threads, by libvirt's number: it names them `iothread1` and so on.
fn iothreads(domain: &Domain) -> Result<BTreeMap<u32, u32>, HostError> {
    let threads = numbered(&query(domain, "query-iothreads")?, |thread| {
        thread.get("id")?.as_str()?.strip_prefix("iothread")?.parse().ok()
    });
    threads.ok_or_else(|| {
        HostError::new(
            format!("ask the QEMU of {} for its I/O threads", domain.name()),
            "the answer has a thread without a number",
        )
    })
}

/// `thread-id` of each element, by its number; `None` when one has not both.
fn numbered(reply: &Value, number: impl Fn(&Value) -> Option<u64>) -> Option<BTreeMap<u32, u32>> {
    let one = |element: &Value| {
        let thread = element.get("thread-id")?.as_u64()?;
        Some((number(element)?.try_into().ok()?, thread.try_into().ok()?))
    };
    reply.as_array()?.iter().map(one).collect()
}

/// Threads that are neither vCPU nor I/O thread, nor were started by one.
fn emulator_threads(domain: &Domain, pid: u32) -> Result<Vec<u32>, HostError> {
    let (vcpus, iothreads) = (vcpu_threads(domain)?, iothreads(domain)?);
    let named = |thread: &u32| vcpus.values().chain(iothreads.values()).any(|t| t == thread);
    let folder = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&folder).map_err(|e| HostError::new(format!("list {folder}"), e))?;
    let threads = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_emulator = |thread: &u32| {
        let groups = fs::read_to_string(format!("{folder}/{thread}/cgroup")).unwrap_or_default();
        !named(thread) && !serves_another(&groups)
    };
    Ok(threads.filter(of_emulator).collect())
}

/// Whether the cgroups of a thread are those of a vCPU or I/O thread: what such a thread starts stays in them.
fn serves_another(groups: &str) -> bool {
    groups.lines().any(|line| {
        let last = line.rsplit('/').next().unwrap_or_default();
        ["vcpu", "iothread"]
            .iter()
            .any(|kind| last.strip_prefix(kind).is_some_and(|n| n.parse::<u32>().is_ok()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_worker_of_an_io_thread_is_not_the_emulators() {
        let of = |group: &str| format!("4:cpuset:/machine/qemu-1-a/{group}\n2:memory:/machine/qemu-1-a\n");
        assert!(serves_another(&of("vcpu1")));
        assert!(serves_another(&of("iothread1")));
        assert!(serves_another("0::/machine.slice/a.scope/libvirt/vcpu0\n"));
        assert!(!serves_another(&of("emulator")));
        assert!(!serves_another("4:cpuset:/machine/qemu-1-vcpu\n"));
        assert!(!serves_another(""));
    }

    #[test]
    fn io_threads_are_numbered_by_their_names() {
        let number = |thread: &Value| thread.get("id")?.as_str()?.strip_prefix("iothread")?.parse().ok();
        let reply = json!([{ "id": "iothread2", "thread-id": 12 }, { "id": "iothread1", "thread-id": 11 }]);
        assert_eq!(numbered(&reply, number).unwrap(), [(1, 11), (2, 12)].into());
        assert_eq!(
            numbered(&json!([{ "id": "other", "thread-id": 12 }]), number),
            None
        );
        assert_eq!(numbered(&json!([]), number), Some(BTreeMap::new()));
        assert_eq!(numbered(&json!({}), number), None);
    }

    #[test]
    fn cpus_that_are_not_there_do_not_count() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        assert_eq!(within(&set("0-127"), &set("0-1")), set("0-1"));
        assert_eq!(within(&set("1"), &set("0-1")), set("1"));
    }
}
