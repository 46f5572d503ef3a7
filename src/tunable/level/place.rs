//! Where a tunable is on one host and guest, whether it is there at all, and what it can be set to.
//!
//! Pure: judges by what was found, and says in words what is missing.

use super::LevelError;
use super::coupling::{PAGE_SIZES, pool_address};
use super::xml_conflict::place_of;
use crate::facts::Facts;
use crate::tunable::suggest::pool_reads;
use crate::tunable::{
    Activation, Address, Coupling, DomainSetting, Format, Home, KernelSide, KernelVersion, Kind,
    ParameterGroup, Requirement, Tunable, XmlSetting,
};

/// Files that list what another file can be set to: by the end of its path, and of theirs.
const LISTS: [(&str, &str, Format); 4] = [
    (
        "tcp_congestion_control",
        "tcp_available_congestion_control",
        Format::Plain,
    ),
    ("scaling_governor", "scaling_available_governors", Format::Plain),
    (
        "energy_performance_preference",
        "energy_performance_available_preferences",
        Format::Plain,
    ),
    ("current_clocksource", "available_clocksource", Format::Plain),
];

/// True for a path of which another file lists what it can hold.
pub(in crate::tunable) fn has_list(path: &str) -> bool {
    LISTS.iter().any(|(end, ..)| path.ends_with(end))
}

/// Parts of the domain XML that decide what others can be, by their tunables.
const JUDGED: [&str; 4] = [
    "domain.disk.format",
    "domain.disk.discard",
    "domain.disk.iothread",
    "domain.disk.ioeventfd",
];

impl Tunable {
    /// Fails when the tunable cannot be set on this host and guest, with the reason.
    pub fn available(&self, facts: &Facts) -> Result<(), LevelError> {
        match self.lack(facts) {
            Some(why) => Err(self.absent(why)),
            None => Ok(()),
        }
    }

    fn absent(&self, why: impl Into<String>) -> LevelError {
        LevelError::Absent {
            tunable: self.name.clone(),
            why: why.into(),
        }
    }

    fn lack(&self, facts: &Facts) -> Option<String> {
        let (whose, release) = match self.side() {
            Some(KernelSide::Guest) => ("the guest", facts.record.get("guest.kernel")),
            _ if matches!(self.home, Home::DomainXml(XmlSetting::GuestBoot(_))) => {
                ("the guest", facts.record.get("guest.kernel"))
            }
            _ => ("the host", facts.record.get("host.kernel")),
        };
        let kernel: Option<KernelVersion> = release.and_then(|release| release.parse().ok());
        if let (Some((gone, instead)), Some(kernel)) = (&self.gone, kernel)
            && kernel >= *gone
        {
            return Some(format!(
                "Linux has not had it since {gone} ({whose} runs {kernel}): {instead}"
            ));
        }
        if let (Some(since), Some(kernel)) = (self.since, kernel)
            && kernel < since
        {
            return Some(format!("Linux has it from {since} on, and {whose} runs {kernel}"));
        }
        let unmet = self.needs.iter().find_map(|need| self.unmet(need, facts));
        let fixed = || {
            let address = self.address(facts).ok()?;
            let fixed = facts.read_only.contains(&address.to_string());
            fixed.then(|| format!("the kernel lets nobody change {address} here"))
        };
        unmet.or_else(|| self.lacks_device(facts)).or_else(fixed)
    }

    fn unmet(&self, need: &Requirement, facts: &Facts) -> Option<String> {
        match need {
            Requirement::Numa if facts.numa_nodes(self.side()) < 2 => {
                Some("it takes a machine with more than one NUMA node".into())
            }
            Requirement::Module(module) if self.side() == Some(KernelSide::Guest) => {
                let there = facts.guest_modules.contains(module) || self.is_read(facts);
                (!there).then(|| format!("the guest has no module {module}"))
            }
            Requirement::Module(module) => (!facts.host_modules.contains(module)).then(|| {
                format!(
                    "module {module} is not loaded on the host; if it is a module there: modprobe {module}"
                )
            }),
            Requirement::Has(what) => (!facts.has.contains(what)).then(|| lacking(what)),
            Requirement::Numa => None,
        }
    }

    /// Limits of a device need to know it.
    fn lacks_device(&self, facts: &Facts) -> Option<String> {
        let is_of_device = matches!(
            &self.home,
            Home::Domain(DomainSetting::Parameter(ParameterGroup::Blkio, field)) if field.starts_with("device_")
        );
        (is_of_device && facts.host_disk.is_none())
            .then(|| "no host block device is behind the data disk".into())
    }

    fn is_read(&self, facts: &Facts) -> bool {
        self.address(facts)
            .is_ok_and(|address| facts.reading(&address).is_some())
    }

    /// The guest's module this tunable needs, when it is not loaded and can be.
    pub(in crate::tunable) fn module_on_demand(&self, facts: &Facts) -> Option<String> {
        let module = self.needs.iter().find_map(|need| match need {
            Requirement::Module(module) if self.side() == Some(KernelSide::Guest) => Some(module),
            _ => None,
        })?;
        (!self.is_read(facts) && facts.guest_modules.contains(module)).then(|| module.clone())
    }

    /// The concrete place of this tunable on the host and guest of `facts`.
    pub fn address(&self, facts: &Facts) -> Result<Address, LevelError> {
        Ok(match &self.home {
            Home::Sysctl(side, name) => file(*side, name.path(), Format::Plain),
            Home::File(side, path, format) => file(*side, path.as_str().into(), *format),
            Home::Module(side, name) => file(*side, name.path(), Format::Plain),
            Home::DiskQueue(side, name, format) => {
                let (disk, whose) = match side {
                    KernelSide::Host => (&facts.host_disk, "host"),
                    KernelSide::Guest => (&facts.guest_disk, "guest"),
                };
                let disk = disk
                    .as_ref()
                    .ok_or_else(|| self.absent(format!("no {whose} block device is behind the data disk")))?;
                file(*side, format!("/sys/block/{disk}/queue/{name}"), *format)
            }
            Home::EachCpu(_) => self
                .each_cpu(facts)
                .pop()
                .ok_or_else(|| self.absent("the host's CPUs are not known"))?,
            Home::HostLink(field) => Address::HostLink(*field),
            Home::GuestLink(name) => {
                let link = self.guest_link(facts)?;
                file(
                    KernelSide::Guest,
                    format!("/sys/class/net/{link}/{name}"),
                    Format::Plain,
                )
            }
            Home::GuestCommand(commands) => {
                let mut commands = commands.clone();
                for word in commands.get.iter_mut().chain(&mut commands.set) {
                    if word.contains("{link}") {
                        *word = word.replace("{link}", self.guest_link(facts)?);
                    }
                }
                Address::GuestCommand(commands)
            }
            Home::Domain(setting) => Address::Domain(setting.clone()),
            Home::Neighbour(setting) => Address::Neighbour(setting.clone()),
            Home::DomainXml(setting) => Address::DomainXml(setting.clone()),
            Home::HostBoot(name) => Address::HostBoot(name.clone()),
        })
    }

    fn guest_link<'f>(&self, facts: &'f Facts) -> Result<&'f str, LevelError> {
        let link = facts.guest_link.as_deref();
        link.ok_or_else(|| self.absent("the guest has no network link that its domain knows"))
    }

    /// The file of each CPU of the host; the one that is the tunable itself is last.
    pub(super) fn each_cpu(&self, facts: &Facts) -> Vec<Address> {
        let Home::EachCpu(name) = &self.home else {
            return Vec::new();
        };
        let path = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/{name}");
        facts
            .host_cpus
            .iter()
            .map(|cpu| file(KernelSide::Host, path(cpu), Format::Plain))
            .collect()
    }

    /// The place that lists what this tunable can be set to, when that is another file.
    pub fn choices_address(&self, facts: &Facts) -> Option<Address> {
        let address = self.address(facts).ok()?;
        let (Address::HostFile { path, .. } | Address::GuestFile { path, .. }) = &address else {
            return None;
        };
        // What is allowed in a network of its own is less than what there is.
        if let (Address::HostFile { path, .. }, false) = (&address, facts.has.contains("host-network"))
            && let Some(stem) = path.strip_suffix("tcp_congestion_control")
        {
            let list = format!("{stem}tcp_allowed_congestion_control");
            return Some(file(KernelSide::Host, list, Format::Plain));
        }
        let (stem, list, format) = LISTS
            .iter()
            .find_map(|(end, list, format)| Some((path.strip_suffix(end)?, list, *format)))?;
        Some(file(self.side()?, format!("{stem}{list}"), format))
    }

    /// Every place whose content decides which levels there are: the tunable itself, its list of choices, and what
    /// it is coupled to.
    pub fn addresses_to_read(&self, facts: &Facts) -> Vec<Address> {
        let mut addresses: Vec<_> = self.address(facts).into_iter().collect();
        addresses.extend(self.choices_address(facts));
        addresses.extend(pool_reads(self));
        if let Some(Coupling::Twin { sysctl, .. }) = &self.coupling
            && let Some(side) = self.side()
        {
            addresses.push(file(side, sysctl.path(), Format::Plain));
        }
        addresses.extend(self.bounding());
        if matches!(self.home, Home::DomainXml(_)) {
            addresses.extend(PAGE_SIZES.map(|(_, size)| pool_address(size)));
            let others = [XmlSetting::DiskCache, XmlSetting::DiskIo, XmlSetting::DiskImage];
            addresses.extend(others.map(Address::DomainXml));
            addresses.extend(JUDGED.iter().filter_map(|name| place_of(name)));
        }
        addresses
    }

    /// Every word this tunable can be set to here: offered now, or by a module that can be loaded. `None` when
    /// it is not a choice.
    pub fn choices(&self, facts: &Facts) -> Result<Option<Vec<String>>, LevelError> {
        if let Kind::Choice(choices) = &self.kind {
            return Ok(Some(choices.clone()));
        }
        if matches!(self.kind, Kind::Words) {
            return Ok(None);
        }
        let address = self.address(facts)?;
        let mut words = match (&address, self.choices_address(facts)) {
            (_, Some(list)) => facts
                .reading(&list)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_string)
                .collect(),
            (Address::HostFile { format, .. } | Address::GuestFile { format, .. }, None) => {
                format.choices(facts.reading(&address).unwrap_or_default())
            }
            _ => Vec::new(),
        };
        if words.is_empty() {
            return Ok(None);
        }
        words.extend(self.loadable(facts));
        words.sort();
        words.dedup();
        Ok(Some(words))
    }

    fn loadable(&self, facts: &Facts) -> Vec<String> {
        let value_of = |module: &str| match &self.home {
            Home::DiskQueue(KernelSide::Guest, file, _) if file == "scheduler" => match module {
                "bfq" => Some("bfq"),
                "kyber-iosched" => Some("kyber"),
                _ => None,
            }
            .map(str::to_string),
            // tcp_diag is a socket monitor, not an algorithm.
            Home::Sysctl(KernelSide::Guest, n)
                if n.as_str().ends_with("tcp_congestion_control") && module != "tcp_diag" =>
            {
                module.strip_prefix("tcp_").map(str::to_string)
            }
            _ => None,
        };
        facts
            .guest_modules
            .iter()
            .filter_map(|module| value_of(module))
            .collect()
    }

    /// True when it can only be changed by booting the host again.
    pub fn needs_host_reboot(&self) -> bool {
        self.activation == Activation::HostReboot
    }
}

/// Why a place could not be read.
pub(in crate::tunable) fn unreadable(address: &Address, facts: &Facts) -> String {
    let of_network = matches!(address, Address::HostFile { path, .. } if path.starts_with("/proc/sys/net/"));
    for (pool, size) in [("hugepages-1048576kB", "1GiB"), ("hugepages-2048kB", "2MiB")] {
        let (whose, pages) = match address {
            Address::GuestFile { .. } => ("guest", facts.record.get("guest.cpu.pages")),
            _ => ("host", facts.record.get("host.cpu.pages")),
        };
        let lacks = pages.is_some_and(|pages| !pages.split(' ').any(|page| page == size));
        if address.to_string().contains(pool) && lacks {
            let flag = if size == "1GiB" { "pdpe1gb" } else { "pse" };
            return format!("the {whose}'s CPU has no pages of {size} (it lacks the flag {flag})");
        }
    }
    if of_network && !facts.has.contains("host-network") {
        return lacking("host-network");
    }
    format!("{address} is not there or cannot be read")
}

pub(super) fn file(side: KernelSide, path: String, format: Format) -> Address {
    match side {
        KernelSide::Host => Address::HostFile { path, format },
        KernelSide::Guest => Address::GuestFile { path, format },
    }
}

/// What it means that [`Facts::has`] lacks a word, and what mends it.
fn lacking(what: &str) -> String {
    match what {
        "kvm" => "the guest does not run under KVM".into(),
        "vhost-net" => "the host has no /dev/vhost-net; modprobe vhost_net".into(),
        "hugetlbfs" => {
            "no hugetlbfs is mounted; mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages"
                .into()
        }
        "memory swap limit" => {
            "the host's kernel limits no swap of a cgroup; boot it with swapaccount=1, or with a kernel that has \
             CONFIG_SWAP"
                .into()
        }
        "blkio weight" => "no cgroup of the host has a weight of I/O; modprobe bfq".into(),
        "blkio device weight" => {
            "the host's cgroups have no blkio.weight_device, where libvirt sets it: Linux lost it with the cfq \
             scheduler in 5.0; use blkio.weight with bfq"
                .into()
        }
        "iothread" => "the domain has no I/O thread; add <iothreads>1</iothreads> to its definition".into(),
        "host-network" => {
            "it is set for the host's network as a whole, and the lab has one of its own".into()
        }
        other => match other.strip_prefix("controller ") {
            Some(controller) => format!(
                "the cgroup controller {controller} is not mounted; mount -t cgroup -o {controller} cgroup \
                 /sys/fs/cgroup/{controller}"
            ),
            None => format!("the host has no {other}"),
        },
    }
}
