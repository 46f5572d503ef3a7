//! A user's domain with words of its owner in it, and commits to it from a ledger of the test's own.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::libvirtd::{Agents, Daemon, User};
use kvmtune::commit::{
    Change, Commit, CommitError, Domains, Extent, Finding, Held, HostPart, Measured, Opened, Wanted,
    domain_part,
};
use kvmtune::event::RunId;
use kvmtune::facts::Facts;
use kvmtune::host::libvirt::Connection;
use kvmtune::host::{Host, LocalHost};
use kvmtune::persist::domain::DomainRef;
use kvmtune::persist::{CommitId, Stamp};
use kvmtune::tunable::{Setting, level, lookup};
use std::process::Command;
use std::sync::Arc;

/// As an operating system does: the disk's files of configuration are there at each boot, and set then.
const INITTAB: &str = "::sysinit:/etc/boot-settings\n\
     ::respawn:/usr/sbin/qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run\n\
     ::once:/etc/late\n";
const BOOT: &str = "#!/bin/sh\nmkdir -p /etc/sysctl.d\nmount -t ext4 /dev/kvmtune-data /etc/sysctl.d\n\
     for file in /etc/sysctl.d/*.conf; do [ ! -e \"$file\" ] || busybox sysctl -p \"$file\"; done\n";

/// A ledger of its own, and what the domain was like when it was measured.
pub(crate) struct Bench<'d> {
    pub(crate) daemon: &'d Daemon,
    pub(crate) ledger: tempfile::TempDir,
    pub(crate) facts: Facts,
    pub(crate) commits: u32,
}

impl<'d> Bench<'d> {
    pub(crate) fn new(daemon: &'d Daemon) -> Self {
        Self {
            daemon,
            ledger: tempfile::tempdir().unwrap(),
            facts: facts(daemon),
            commits: 0,
        }
    }

    pub(crate) fn opened(&self) -> Opened<'static> {
        Opened::image(self.ledger.path()).unwrap().0
    }

    fn domain(&self, domains: &mut Domains) -> Result<DomainRef, CommitError> {
        domains.find(&self.daemon.uri(), "kt-user", Some("vdb"), None)
    }

    pub(crate) fn settings(&mut self, levels: &[(&str, &str)]) -> Vec<Setting> {
        let facts = &mut self.facts;
        let mut all = Vec::new();
        for (name, text) in levels {
            let tunable = lookup(name).unwrap();
            all.extend(level(&tunable, text, facts).unwrap().settings);
        }
        all
    }

    /// The commit these levels make.
    pub(crate) fn commit(
        &mut self,
        levels: &[(&str, &str)],
        extent: Extent,
        opened: &mut Opened<'_>,
    ) -> Result<Commit, CommitError> {
        let settings = self.settings(levels);
        let in_force = opened.ledger()?.commits;
        let of = Measured {
            run: "0198a",
            facts: &self.facts,
            is_own: true,
            in_force: &in_force,
        };
        let at = self.domain(&mut opened.machine.domains)?;
        let part = domain_part(&settings, of, at, extent, &mut opened.machine.domains)?;
        Ok(Commit {
            stamp: Stamp {
                commit: CommitId(self.commits + 1),
                run: "0198a".into(),
                experiment: "disk".into(),
                at: "2026-01-02T03:04:05Z".parse().unwrap(),
                evidence: vec!["iops +9 %".into()],
                deadline: None,
            },
            run: RunId(uuid::Uuid::nil()),
            extent,
            boot: String::new(),
            keeper: None,
            host: HostPart::default(),
            domain: Some(part),
        })
    }

    /// Commits, and gives what was shown before.
    pub(crate) fn make(&mut self, levels: &[(&str, &str)]) -> Result<String, CommitError> {
        let mut opened = self.opened();
        let commit = self.commit(levels, Extent::Both, &mut opened)?;
        let (next, changes) = opened.adding(commit, Wanted::Careful)?;
        let shown: String = changes.iter().map(Change::shown).collect();
        opened.carry_out(next, changes)?;
        self.commits += 1;
        Ok(shown)
    }

    pub(crate) fn revert(&self, id: u32, wanted: Wanted) -> Result<(), CommitError> {
        let mut opened = self.opened();
        let (next, changes) = opened.reverting(CommitId(id), wanted)?;
        opened.carry_out(next, changes)
    }

    pub(crate) fn status(&self) -> Vec<Finding> {
        self.opened().status().unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_all_held(&self) {
        let status = self.status();
        assert!(
            !status.is_empty() && status.iter().all(|f| f.held == Held::Yes),
            "{status:#?}"
        );
    }
}

fn facts(daemon: &Daemon) -> Facts {
    let mut host = LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), Arc::default()).unwrap();
    let mut facts = host.facts().unwrap();
    for tunable in [
        "guest.swappiness",
        "domain.cpu.shares",
        "domain.disk.cache",
        "guest.disk.scheduler",
    ] {
        for address in lookup(tunable).unwrap().addresses_to_read(&facts) {
            if let Ok(read) = host.read(&address) {
                facts.readings.insert(address.to_string(), read);
            }
        }
    }
    facts
}

/// A user's domain with words of its owner in it, whose guest has a disk for its configuration.
pub(crate) fn owned(daemon: &Daemon) -> User<'_> {
    let initrd = daemon.initrd_with(
        "initrd-commit",
        &[
            ("etc/inittab", 0o100_644, INITTAB.as_bytes()),
            ("etc/boot-settings", 0o100_755, BOOT.as_bytes()),
        ],
    );
    let user = daemon.define_booting("kt-user", Agents::Willing, &initrd);
    let disk = daemon.folder().join("kt-user.img");
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4"])
        .arg(&disk)
        .status();
    assert!(made.unwrap().success());
    let words = "<metadata><mine:notes xmlns:mine='urn:mine'><!-- do not touch --><mine:owner>ops</mine:owner></mine:notes>\
                 </metadata>\n  <description>billing</description>\n  <memory";
    let text = user.domain.xml_inactive().unwrap().replacen("<memory", words, 1);
    let text = text.replacen(
        "<memballoon",
        "<graphics type='vnc' autoport='yes' passwd='s3cret'/>\n    <memballoon",
        1,
    );
    Connection::open(&daemon.uri())
        .unwrap()
        .define_xml(&text)
        .unwrap();
    user
}
