//! What libvirt said when it refused, and what to try next. It does not know who asked.

use std::fmt;

use virt_sys as sys;

/// A refused or failed libvirt call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LibvirtError {
    /// libvirt's `virErrorNumber`; 0 when the refusal is our own.
    pub code: u32,
    /// libvirt's `virErrorDomain`: the part of libvirt that failed; 0 when the refusal is our own.
    pub domain: u32,
    /// libvirt's message.
    pub message: String,
    /// What was being done, as a verb phrase with its object: "start domain web".
    pub doing: String,
}

/// The failures callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibvirtErrorKind {
    /// No domain of that name.
    NoDomain,
    /// The daemon's socket cannot be reached.
    CannotConnect,
    /// No guest agent is connected to the channel.
    AgentNotConnected,
    /// The guest agent did not answer in time.
    AgentTimeout,
    /// The guest agent answered with an error.
    AgentRefused,
    /// libvirt or QEMU did not finish in time.
    Timeout,
    /// The account the packaged libvirt runs QEMU as is missing; an embedded driver insists on it too.
    NoQemuUser,
    /// No hugetlbfs mount for the asked page size.
    HugetlbfsMissing,
    /// QEMU could not get the guest's memory.
    NoMemory,
    /// The operation does not fit the domain's state, such as a live change to a stopped domain.
    WrongState,
    /// Anything else.
    Other,
}

impl LibvirtErrorKind {
    /// What to try next.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::NoDomain => "list the domains with `virsh list --all`; names are case-sensitive",
            Self::CannotConnect => "is libvirtd or virtqemud running, and may this user use its socket?",
            Self::AgentNotConnected => {
                "install and start qemu-guest-agent in the guest, and give the domain a channel named \
                 org.qemu.guest_agent.0"
            }
            Self::AgentTimeout => "the guest is hung, overloaded or still booting; look at its console",
            Self::Timeout => "another operation may hold the domain; look at `virsh domjobinfo`",
            Self::NoQemuUser => {
                "install libvirt-daemon-system, or create this system user and group; an embedded driver \
                 looks them up even when it does not use them"
            }
            Self::HugetlbfsMissing => "mount hugetlbfs for this page size, such as at /dev/hugepages",
            Self::NoMemory => "free host memory, or reserve more huge pages (vm.nr_hugepages) for this guest",
            Self::AgentRefused | Self::WrongState | Self::Other => return None,
        })
    }
}

impl LibvirtError {
    pub(super) fn from_virt(doing: String, error: &virt::error::Error) -> Self {
        let (code, domain) = (error.code().to_raw(), error.domain().to_raw());
        Self {
            code,
            domain,
            message: error.message().to_owned(),
            doing,
        }
    }

    /// A refusal of our own, before libvirt was asked.
    pub(super) fn own(doing: String, message: &str) -> Self {
        Self {
            code: sys::VIR_ERR_OK,
            domain: sys::VIR_FROM_NONE,
            message: message.to_owned(),
            doing,
        }
    }

    /// An error of the given kind, for stand-ins of libvirt in tests.
    #[cfg(test)]
    pub(crate) fn stand_in(kind: LibvirtErrorKind, message: &str) -> Self {
        let code = match kind {
            LibvirtErrorKind::AgentTimeout => sys::VIR_ERR_AGENT_COMMAND_TIMEOUT,
            LibvirtErrorKind::AgentRefused => sys::VIR_ERR_AGENT_COMMAND_FAILED,
            LibvirtErrorKind::NoDomain => sys::VIR_ERR_NO_DOMAIN,
            _ => sys::VIR_ERR_INTERNAL_ERROR,
        };
        Self {
            code,
            domain: sys::VIR_FROM_QEMU,
            message: message.to_owned(),
            doing: "test".to_owned(),
        }
    }

    /// Whether the guest agent is silent or absent, or libvirt gave up waiting for it.
    pub fn is_no_answer(&self) -> bool {
        use LibvirtErrorKind as Kind;
        matches!(
            self.kind(),
            Kind::AgentTimeout | Kind::AgentNotConnected | Kind::Timeout
        )
    }

    /// The kind of failure, from the code where it tells and from the message where it does not:
    /// what QEMU prints before it dies arrives as `VIR_ERR_INTERNAL_ERROR`.
    pub fn kind(&self) -> LibvirtErrorKind {
        let says = |text: &str| self.message.contains(text);
        match self.code {
            sys::VIR_ERR_NO_DOMAIN => LibvirtErrorKind::NoDomain,
            sys::VIR_ERR_AGENT_COMMAND_FAILED => LibvirtErrorKind::AgentRefused,
            // Before libvirt 10 the guest's refusals have no code of their own; the agent's command is quoted
            // in any language.
            sys::VIR_ERR_INTERNAL_ERROR if says("'guest-") => LibvirtErrorKind::AgentRefused,
            // One code for "nobody there" and for "there, but does not answer the sync".
            sys::VIR_ERR_AGENT_UNRESPONSIVE if says("not connected") => LibvirtErrorKind::AgentNotConnected,
            sys::VIR_ERR_AGENT_UNRESPONSIVE | sys::VIR_ERR_AGENT_COMMAND_TIMEOUT => {
                LibvirtErrorKind::AgentTimeout
            }
            sys::VIR_ERR_OPERATION_TIMEOUT => LibvirtErrorKind::Timeout,
            _ if says("Failed to parse user") || says("Failed to parse group") => {
                LibvirtErrorKind::NoQemuUser
            }
            _ if says("hugetlbfs") => LibvirtErrorKind::HugetlbfsMissing,
            sys::VIR_ERR_NO_MEMORY => LibvirtErrorKind::NoMemory,
            _ if says("unable to map backing store") || says("Cannot allocate memory") => {
                LibvirtErrorKind::NoMemory
            }
            sys::VIR_ERR_NO_CONNECT => LibvirtErrorKind::CannotConnect,
            _ if says("Failed to connect socket") => LibvirtErrorKind::CannotConnect,
            _ if says("QEMU guest agent is not connected") => LibvirtErrorKind::AgentNotConnected,
            sys::VIR_ERR_OPERATION_INVALID => LibvirtErrorKind::WrongState,
            _ => LibvirtErrorKind::Other,
        }
    }
}

impl fmt::Display for LibvirtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.message)?;
        match self.kind().hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: u32, message: &str) -> LibvirtErrorKind {
        LibvirtError {
            code,
            domain: 0,
            message: message.to_owned(),
            doing: String::new(),
        }
        .kind()
    }

    #[test]
    fn messages_seen_from_libvirt_get_their_kind() {
        use LibvirtErrorKind as K;
        let internal = sys::VIR_ERR_INTERNAL_ERROR;
        let map = "unable to map backing store for guest RAM: Cannot allocate memory";
        assert_eq!(kind(internal, map), K::NoMemory);
        assert_eq!(
            kind(internal, "hugetlbfs filesystem is not mounted or disabled"),
            K::HugetlbfsMissing
        );
        let agent = sys::VIR_ERR_AGENT_UNRESPONSIVE;
        assert_eq!(
            kind(agent, "QEMU guest agent is not connected"),
            K::AgentNotConnected
        );
        assert_eq!(kind(agent, "Guest agent not available for now"), K::AgentTimeout);
        let socket = "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory";
        assert_eq!(kind(sys::VIR_ERR_SYSTEM_ERROR, socket), K::CannotConnect);
        let refused =
            "internal error: unable to execute QEMU agent command 'guest-file-open': failed to open";
        assert_eq!(kind(internal, refused), K::AgentRefused);
        let user = "invalid argument: Failed to parse user 'libvirt-qemu'";
        assert_eq!(kind(sys::VIR_ERR_INVALID_ARG, user), K::NoQemuUser);
        assert_eq!(kind(sys::VIR_ERR_XML_ERROR, "missing root element"), K::Other);
    }

    #[test]
    fn the_text_says_what_failed_and_what_to_try() {
        let error = LibvirtError {
            code: sys::VIR_ERR_NO_DOMAIN,
            domain: 0,
            message: "Domain not found".to_owned(),
            doing: "find domain web".to_owned(),
        };
        let text = error.to_string();
        assert!(
            text.starts_with("cannot find domain web: Domain not found (list"),
            "{text}"
        );
    }
}
