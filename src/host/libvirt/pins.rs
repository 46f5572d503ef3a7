//! Which host CPUs the threads of a domain may run on, as libvirt tells and sets it. It does not ask the kernel.

use virt_sys as sys;

use super::{Domain, LibvirtError, check, cpu_map};
use crate::tunable::CpuSet;

impl Domain {
    /// The host CPUs each virtual CPU may run on, by number of the virtual CPU.
    pub fn vcpu_pins(&self) -> Result<Vec<CpuSet>, LibvirtError> {
        let doing = || self.doing("read the CPU pins of");
        let length = self.map_length()?;
        let vcpus = self.info()?.vcpus as usize;
        let mut bits = vec![0u8; vcpus * length];
        let (count, bytes) = (c_int(vcpus), c_int(length));
        // SAFETY: the buffer holds `count` maps of `bytes` bytes each.
        let filled = check(
            unsafe {
                sys::virDomainGetVcpuPinInfo(
                    self.raw(),
                    count,
                    bits.as_mut_ptr(),
                    bytes,
                    sys::VIR_DOMAIN_AFFECT_LIVE,
                )
            },
            doing,
        )?;
        let filled = usize::try_from(filled).unwrap_or(0);
        Ok(bits
            .chunks_exact(length)
            .take(filled)
            .map(cpu_map::from_bits)
            .collect())
    }

    /// Lets one virtual CPU of the running domain use only `cpus`.
    pub fn pin_vcpu(&self, vcpu: u32, cpus: &CpuSet) -> Result<(), LibvirtError> {
        let pinned = self
            .inner()
            .pin_vcpu_flags(vcpu, &cpu_map::to_bits(cpus), sys::VIR_DOMAIN_AFFECT_LIVE);
        pinned.map_err(self.failed(&format!("pin virtual CPU {vcpu} to {cpus} in")))
    }

    /// The host CPUs QEMU's other threads may run on.
    pub fn emulator_pin(&self) -> Result<CpuSet, LibvirtError> {
        let mut bits = vec![0u8; self.map_length()?];
        let bytes = c_int(bits.len());
        // SAFETY: the buffer holds one map of `bytes` bytes.
        let status = unsafe {
            sys::virDomainGetEmulatorPinInfo(
                self.raw(),
                bits.as_mut_ptr(),
                bytes,
                sys::VIR_DOMAIN_AFFECT_LIVE,
            )
        };
        check(status, || self.doing("read the emulator pin of"))?;
        Ok(cpu_map::from_bits(&bits))
    }

    /// Lets QEMU's other threads use only `cpus`.
    pub fn pin_emulator(&self, cpus: &CpuSet) -> Result<(), LibvirtError> {
        let pinned = self
            .inner()
            .pin_emulator(&cpu_map::to_bits(cpus), sys::VIR_DOMAIN_AFFECT_LIVE);
        pinned.map_err(self.failed(&format!("pin the emulator to {cpus} in")))
    }

    /// The host CPUs each I/O thread may run on, by libvirt's number of the thread.
    pub fn iothread_pins(&self) -> Result<Vec<(u32, CpuSet)>, LibvirtError> {
        let mut threads: *mut sys::virDomainIOThreadInfoPtr = std::ptr::null_mut();
        // SAFETY: a valid handle; libvirt gives away an array of as many pointers as it returns.
        let count = check(
            unsafe {
                sys::virDomainGetIOThreadInfo(self.raw(), &raw mut threads, sys::VIR_DOMAIN_AFFECT_LIVE)
            },
            || self.doing("read the I/O threads of"),
        )?;
        let mut pins = Vec::new();
        for i in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: element `i` of `count`, with a map of the length it names; freed once, and not used after.
            unsafe {
                let info = *threads.add(i);
                let length = usize::try_from((*info).cpumaplen).unwrap_or(0);
                let bits = if (*info).cpumap.is_null() {
                    &[]
                } else {
                    std::slice::from_raw_parts((*info).cpumap, length)
                };
                pins.push(((*info).iothread_id, cpu_map::from_bits(bits)));
                sys::virDomainIOThreadInfoFree(info);
            }
        }
        // SAFETY: libvirt allocated the array with malloc and gave it away; it may be null.
        unsafe { nix::libc::free(threads.cast()) };
        pins.sort_by_key(|(id, _)| *id);
        Ok(pins)
    }

    /// Lets one I/O thread of the running domain use only `cpus`.
    pub fn pin_iothread(&self, id: u32, cpus: &CpuSet) -> Result<(), LibvirtError> {
        let mut bits = cpu_map::to_bits(cpus);
        let bytes = c_int(bits.len());
        // SAFETY: the buffer holds one map of `bytes` bytes; the C call takes no const, but only reads it.
        let status = unsafe {
            sys::virDomainPinIOThread(
                self.raw(),
                id,
                bits.as_mut_ptr(),
                bytes,
                sys::VIR_DOMAIN_AFFECT_LIVE,
            )
        };
        check(status, || {
            self.doing(&format!("pin I/O thread {id} to {cpus} in"))
        })
        .map(drop)
    }

    /// Bytes of a map that has a bit for each CPU of the host.
    fn map_length(&self) -> Result<usize, LibvirtError> {
        let doing = || self.doing("count the host CPUs for");
        // SAFETY: the connection belongs to the domain's handle and is only borrowed; without maps to
        // fill the call returns the number of CPUs.
        let cpus = check(
            unsafe {
                let connection = sys::virDomainGetConnect(self.raw());
                sys::virNodeGetCPUMap(connection, std::ptr::null_mut(), std::ptr::null_mut(), 0)
            },
            doing,
        )?;
        Ok(usize::try_from(cpus).unwrap_or(0).div_ceil(8).max(1))
    }
}

/// For lengths and counts far below the limit.
fn c_int(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
