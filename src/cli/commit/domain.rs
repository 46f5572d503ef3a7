//! Which domain gets the settings of a domain and its guest, and what they come to there.

use crate::cli::failure::Failure;
use crate::commit::{Change, Commit, Extent, Measured, Opened, domain_part};
use crate::decision::Proven;
use crate::experiment::{Guest, SshTarget};
use crate::persist::domain::DomainPart;
use crate::report::tame;
use crate::tunable::Setting;

/// Where domains are looked for when nothing is said.
const USUAL: &str = "qemu:///system";
/// Characters of a domain's name that are shown.
const NAME: usize = 60;

/// The options of `commit` that are about a domain.
#[derive(Debug, clap::Args)]
pub(super) struct DomainArgs {
    /// The libvirt domain that gets what is of a domain and its guest; needed after a run in the lab, whose guest is gone
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// How libvirt is reached for it
    #[arg(long, value_name = "URI", requires = "domain", default_value = USUAL)]
    connect: String,
    /// Target name of its data disk; its first disk when absent
    #[arg(long, value_name = "TARGET", requires = "domain")]
    disk: Option<String>,
    /// Leave out what is of a domain or its guest
    #[arg(long, conflicts_with = "domain")]
    host_only: bool,
}

impl DomainArgs {
    /// The part of a commit that these settings, none of which is the host's, come to; and what should be known.
    pub(super) fn part(
        &self,
        settings: &[Setting],
        proven: &Proven,
        (extent, is_image): (Extent, bool),
        opened: &mut Opened<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<DomainPart>, Failure> {
        let named: Vec<_> = settings
            .iter()
            .map(|s| format!("{} = {}", s.address, s.value))
            .collect();
        if settings.is_empty() {
            return Ok(None);
        }
        if self.host_only {
            notes.push(format!("left out, as --host-only asks: {}", named.join(", ")));
            return Ok(None);
        }
        let guest = &proven.header().protocol.guest;
        let (connect, name, disk, ssh) = self.target(guest, is_image, &named.join(", "))?;
        let in_force = opened.ledger()?.commits;
        let domains = &mut opened.machine.domains;
        let found = domains.find(connect, name, disk.as_deref(), ssh)?;
        let facts = &proven.header().facts;
        let is_own = matches!(guest, Guest::Domain { name: own, .. } if own == name);
        if !is_own {
            notes.push(format!(
                "it was not measured on domain {}: what is proven is proven for the guest of the run",
                tame(name, NAME)
            ));
        }
        let of = Measured {
            run: &proven.asked().short(),
            facts,
            is_own,
            in_force: &in_force,
        };
        Ok(Some(domain_part(settings, of, found, extent, domains)?))
    }

    /// Connection, name, data disk and ssh server of the domain that is to have what is `named`.
    fn target<'t>(&'t self, guest: &'t Guest, is_image: bool, named: &str) -> Result<Target<'t>, Failure> {
        match (&self.domain, guest) {
            _ if is_image => Err(Failure::environment(format!(
                "an image has no domain to keep {named}; commit that on the host, or leave it out with --host-only"
            ))),
            (
                None,
                Guest::Domain {
                    name,
                    connect,
                    disk,
                    ssh,
                    ..
                },
            ) => Ok((connect, name, disk, ssh.as_ref())),
            (Some(name), Guest::Domain { name: own, ssh, .. }) => {
                let ssh = ssh.as_ref().filter(|_| name == own);
                Ok((&self.connect, name, &self.disk, ssh))
            }
            (Some(name), _) => Ok((&self.connect, name, &self.disk, None)),
            (None, _) => Err(Failure::environment(format!(
                "{named} is of the lab's guest, which does not last: name the domain that is to have it with --domain NAME, or \
                 commit the host's part alone with --host-only"
            ))),
        }
    }
}

type Target<'t> = (&'t str, &'t str, &'t Option<String>, Option<&'t SshTarget>);

/// What a domain has only when it is started again.
pub(super) fn waiting(changes: &[Change], commit: &Commit) -> Vec<String> {
    let late = changes.iter().filter_map(|change| match change {
        Change::Domain(change) => Some(change),
        _ => None,
    });
    let late = late.flat_map(|change| {
        let name = tame(&change.domain.name, NAME);
        change
            .late
            .iter()
            .map(move |s| format!("{name}: {} = {}", s.address, s.value))
    });
    if commit.extent.is_config() {
        late.collect()
    } else {
        Vec::new()
    }
}
