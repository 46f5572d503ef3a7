//! Commits to domains of libvirt's own test driver, which are off: their definitions need no QEMU.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::commit::*;
use kvmtune::event::RunId;
use kvmtune::facts::Facts;
use kvmtune::host::libvirt::Connection;
use kvmtune::persist::domain::DomainRef;
use kvmtune::persist::{CommitId, Stamp};
use kvmtune::tunable::{Address, DomainSetting, Kind, ParameterGroup, Setting};
use std::fs;

const URI: &str = "test:///default";

/// A domain, and a ledger of its own.
struct Bench {
    connection: Connection,
    name: &'static str,
    ledger: tempfile::TempDir,
}

impl Bench {
    fn new(name: &'static str) -> Self {
        let bench = Self {
            connection: Connection::open(URI).unwrap(),
            name,
            ledger: tempfile::tempdir().unwrap(),
        };
        bench.define(
            &format!(
                "<domain type='test'><name>{name}</name><description>billing</description><memory unit='KiB'>8192</memory>\
                 <vcpu>4</vcpu><os><type>hvm</type></os><devices><disk type='file' device='disk'><source file='/nonexistent/{name}.img'/>\
                 <target dev='vda' bus='virtio'/></disk></devices></domain>"
            ),
        );
        bench
    }

    fn define(&self, text: &str) {
        self.connection.define_xml(text).unwrap();
    }

    fn now(&self) -> String {
        self.connection.lookup(self.name).unwrap().xml_inactive().unwrap()
    }

    fn opened(&self) -> Opened<'static> {
        Opened::image(self.ledger.path()).unwrap().0
    }

    fn domain(&self, opened: &mut Opened<'_>) -> DomainRef {
        opened
            .machine
            .domains
            .find(URI, self.name, Some("vda"), None)
            .unwrap()
    }

    /// A commit of the next number, to this domain when there are settings.
    fn commit(&self, settings: &[Setting], opened: &mut Opened<'_>) -> Commit {
        let ledger = opened.ledger().unwrap();
        let facts = Facts::default();
        let of = Measured {
            run: "0198a",
            facts: &facts,
            is_own: false,
            in_force: &ledger.commits,
        };
        let domain = (!settings.is_empty()).then(|| {
            let at = self.domain(opened);
            domain_part(settings, of, at, Extent::Both, &mut opened.machine.domains).unwrap()
        });
        Commit {
            stamp: Stamp {
                commit: ledger.next_id(),
                run: "0198a".into(),
                experiment: "pins".into(),
                at: "2026-01-02T03:04:05Z".parse().unwrap(),
                evidence: Vec::new(),
                deadline: None,
            },
            run: RunId(uuid::Uuid::nil()),
            extent: Extent::Both,
            boot: String::new(),
            keeper: None,
            host: HostPart::default(),
            domain,
        }
    }

    fn make(&self, settings: &[Setting]) -> Result<(), CommitError> {
        let mut opened = self.opened();
        let commit = self.commit(settings, &mut opened);
        let (next, changes) = opened.adding(commit, Wanted::Careful)?;
        opened.carry_out(next, changes)
    }

    fn revert(&self, id: u32, wanted: Wanted) -> Result<(), CommitError> {
        let mut opened = self.opened();
        let (next, changes) = opened.reverting(CommitId(id), wanted)?;
        opened.carry_out(next, changes)
    }

    fn not_held(&self) -> Vec<Finding> {
        let mut found = self.opened().status().unwrap();
        found.retain(|f| matches!(f.held, Held::No(_)));
        found
    }

    /// Makes the ledger one that was written before places were kept in it.
    fn forget_places(&self) {
        let file = self.ledger.path().join("var/lib/kvmtune/commits/ledger.json");
        let mut ledger: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let part = ledger["commits"][0]["domain"].as_object_mut().unwrap();
        part.remove("places").unwrap();
        fs::write(&file, serde_json::to_vec(&ledger).unwrap()).unwrap();
    }
}

fn pins() -> Setting {
    let address = Address::Domain(DomainSetting::VcpuPins);
    Setting::own(address, Kind::Pins.parse("0=0 1=0 2=0 3=0").unwrap(), Kind::Pins)
}

fn shares() -> Setting {
    let address = DomainSetting::Parameter(ParameterGroup::Scheduler, "cpu_shares".into());
    let kind = Kind::Integer { min: 2, max: 1000 };
    Setting::own(Address::Domain(address), kind.parse("512").unwrap(), kind)
}

/// Fewer vCPUs, as `virsh setvcpus --maximum` leaves them.
fn with_two_vcpus(text: &str) -> String {
    let is_kept = |line: &&str| !line.contains("vcpupin vcpu='2'") && !line.contains("vcpupin vcpu='3'");
    let lines: Vec<_> = text.lines().filter(is_kept).collect();
    lines.join("\n").replace(">4</vcpu>", ">2</vcpu>")
}

#[test]
fn a_domain_that_has_another_shape_now_is_looked_at_and_taken_back() {
    let bench = Bench::new("reshaped");
    let original = bench.now();
    bench.make(&[pins(), shares()]).unwrap();
    assert_eq!(bench.not_held(), []);
    bench.define(&with_two_vcpus(&bench.now()));
    assert!(bench.now().contains("<shares>512") && !bench.now().contains("vcpupin vcpu='3'"));
    assert_eq!(bench.not_held().len(), 2, "{:#?}", bench.not_held());
    let refused = bench.revert(1, Wanted::Careful).unwrap_err().to_string();
    assert!(
        refused.contains("vcpupin[@vcpu='3']") && refused.contains("--force"),
        "{refused}"
    );
    bench.revert(1, Wanted::Forced).unwrap();
    assert_eq!(bench.now().trim_end(), with_two_vcpus(&original));
    assert_eq!(bench.opened().ledger().unwrap().origins, Origins::default());
}

#[test]
fn what_cannot_be_told_of_a_domain_is_not_held() {
    let bench = Bench::new("untold");
    bench.make(&[pins(), shares()]).unwrap();
    bench.forget_places();
    assert_eq!(bench.not_held(), []);
    bench.define(&with_two_vcpus(&bench.now()));
    let found = bench.not_held();
    assert!(
        matches!(&found[..], [Finding { held: Held::No(why), .. }] if why.contains("thread 2 is not one of the domain")),
        "{found:#?}"
    );
}

#[test]
fn a_domain_that_is_not_concerned_need_not_be_there() {
    let gone = Bench::new("gone");
    gone.make(&[shares()]).unwrap();
    gone.connection.lookup("gone").unwrap().undefine().unwrap();
    let there = Bench {
        ledger: gone.ledger,
        ..Bench::new("there")
    };
    let original = there.now();
    there.make(&[shares()]).unwrap();
    assert!(there.now().contains("<shares>512"));
    let mut opened = there.opened();
    let (_, changes) = opened.keeping(CommitId(2)).unwrap();
    assert_eq!(changes, []);
    drop(opened);
    for wanted in [Wanted::Careful, Wanted::Forced] {
        let mut opened = there.opened();
        let (_, changes) = opened.reverting(CommitId(2), wanted).unwrap();
        assert_eq!(changes.len(), 1, "{changes:#?}");
    }
    there.revert(2, Wanted::Careful).unwrap();
    assert_eq!(there.now(), original);
    assert_eq!(there.not_held().len(), 1, "the one that is gone");
    there.revert(1, Wanted::Careful).unwrap_err();
    there.revert(1, Wanted::Forced).unwrap();
}

#[test]
fn what_somebody_defines_while_a_commit_is_made_stays() {
    let bench = Bench::new("raced");
    let mut opened = bench.opened();
    let commit = bench.commit(&[pins(), shares()], &mut opened);
    let (next, changes) = opened.adding(commit, Wanted::Careful).unwrap();
    for (old, new) in [
        ("billing", "payroll"),
        ("<os>", "<cputune><shares>777</shares></cputune><os>"),
    ] {
        bench.define(&bench.now().replace(old, new));
        let theirs = bench.now();
        let refused = opened.carry_out(next.clone(), changes.clone()).unwrap_err();
        assert!(
            refused.to_string().contains("somebody else changed it meanwhile"),
            "{refused}"
        );
        assert_eq!(bench.now(), theirs);
    }
    drop(opened);
    assert_eq!(Opened::image(bench.ledger.path()).unwrap().1, None);
}
