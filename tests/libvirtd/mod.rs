//! A libvirtd of the test's own with a user's domain in it, and kvmtune run against that. The daemon has its files in
//! a scratch folder, mounted over the machine's for it alone, and a network namespace of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kvmtune::host::agent::Agent;
use kvmtune::host::libvirt::{Connection, Domain, ShutdownBy};
use kvmtune::lab::image::{AGENT_PORT, COMMAND_LINE, DATA_SERIAL, Image, TOOLS_SERIAL, build, find};
use kvmtune::tunable::ParameterGroup;
use tempfile::TempDir;

#[path = "../common/mod.rs"]
pub(crate) mod common;

/// Becomes libvirtd, in mount and network namespaces that end with it.
const START: &str = r#"set -e
mount --make-rprivate /
mkdir -p /run/libvirt
ip link set lo up
ip link add name kt0 type bridge
ip address add 10.88.0.1/24 dev kt0
ip link set kt0 up
for name in run lib log cache; do mkdir -p "$1/$name"; done
mount --bind "$1/run" /run/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$2" /var/cache/libvirt
mount --bind "$1/etc" /etc/libvirt
exec libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/libvirtd.pid"#;

const QEMU_CONF: &str = "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nnamespaces = []\nuser = \"root\"\n\
                         group = \"root\"\ndynamic_ownership = 0\nremember_owner = 0\n";

/// Where a domain's guest is, on the daemon's bridge.
pub(crate) const GUEST_ADDRESS: &str = "10.88.0.2";

/// An inittab whose agent runs nothing.
pub(crate) const WITHOUT_EXEC: &str = "::respawn:/usr/sbin/qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run \
     -b guest-exec\n";

const NO_LIBVIRTD: &str = "no libvirtd here (package libvirt-daemon-system)";

/// How willing the guest's agent is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Agents {
    Willing,
    WithoutExec,
    None,
}

/// The daemon; dropping it ends its domains and itself.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    image: Image,
    connection: Option<Connection>,
}

impl Daemon {
    /// `None` when there can be no guests here, said on stderr.
    pub(crate) fn start() -> Option<Self> {
        if !common::lab_is_possible() {
            return None;
        }
        if find("libvirtd").is_none() {
            assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{NO_LIBVIRTD}");
            eprintln!("skipped: {NO_LIBVIRTD}");
            return None;
        }
        let image = build(&common::cache()).unwrap();
        let folder = tempfile::Builder::new().prefix("kt-").tempdir_in("/tmp").unwrap();
        // Asking QEMU what it can do takes seconds; the answers are kept.
        let answers = common::cache().join("libvirtd");
        fs::create_dir_all(&answers).unwrap();
        let etc = folder.path().join("etc");
        fs::create_dir_all(etc.join("qemu")).unwrap();
        fs::write(etc.join("qemu.conf"), QEMU_CONF).unwrap();
        fs::write(
            etc.join("libvirtd.conf"),
            "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
        )
        .unwrap();
        let log = fs::File::create(folder.path().join("libvirtd.log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--net", "/bin/sh", "-c", START, "sh"])
            .args([folder.path(), &answers])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            folder,
            image,
            connection: None,
        };
        daemon.connect();
        Some(daemon)
    }

    fn connect(&mut self) {
        let uri = self.uri();
        wait_for("libvirtd", Duration::from_mins(1), || {
            self.connection = Connection::open(&uri).ok();
            self.connection.is_some()
        });
    }

    pub(crate) fn uri(&self) -> String {
        format!(
            "qemu+unix:///system?socket={}/run/libvirt-sock",
            self.folder.path().display()
        )
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }

    /// Where the experiment, its workloads, the state and the results of this test are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn journal(&self) -> String {
        fs::read_to_string(self.folder().join("state/journal.jsonl")).unwrap_or_default()
    }

    /// Defines a user's domain with a data disk `vdb`; it is off, and has run once before: its first run lets libvirt
    /// put the controllers into its own order.
    pub(crate) fn define(&self, name: &str, agents: Agents) -> User<'_> {
        let initrd = if agents == Agents::WithoutExec {
            self.initrd_with("initrd", &[("etc/inittab", 0o100_644, WITHOUT_EXEC.as_bytes())])
        } else {
            self.image.initrd.clone()
        };
        self.define_booting(name, agents, &initrd)
    }

    /// The same with another first root, on the daemon's network as [`GUEST_ADDRESS`].
    pub(crate) fn define_booting(&self, name: &str, agents: Agents, initrd: &Path) -> User<'_> {
        let data = self.folder().join(format!("{name}.img"));
        fs::File::create(&data).unwrap().set_len(64 << 20).unwrap();
        let channel = match agents {
            Agents::None => String::new(),
            _ => format!("<channel type='unix'><target type='virtio' name='{AGENT_PORT}'/></channel>"),
        };
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>384</memory><vcpu>1</vcpu>
<iothreads>1</iothreads>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>{COMMAND_LINE} kvmtune.ip={GUEST_ADDRESS}/24</cmdline></os><features><acpi/></features><cpu mode='maximum'/>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{tools}'/>
<target dev='vda' bus='virtio'/><readonly/><serial>{TOOLS_SERIAL}</serial></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writeback'/><source file='{data}'/>
<target dev='vdb' bus='virtio'/><serial>{DATA_SERIAL}</serial></disk>
<interface type='bridge'><source bridge='kt0'/><model type='virtio'/></interface>
{channel}<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>",
            kernel = self.image.kernel.display(),
            initrd = initrd.display(),
            tools = self.image.tools.display(),
            data = data.display(),
        );
        let domain = self.connection().define_xml(&xml).unwrap();
        domain.create().unwrap();
        domain.destroy().unwrap();
        User {
            definition: domain.xml_inactive().unwrap(),
            stored: self.stored(name),
            domain,
            daemon: self,
        }
    }

    fn stored(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(format!("etc/qemu/{name}.xml"))).unwrap()
    }

    /// The image's first root with other files, each with its mode: the kernel unpacks archives one after the other.
    pub(crate) fn initrd_with(&self, name: &str, files: &[(&str, usize, &[u8])]) -> PathBuf {
        let path = self.folder().join(name);
        let mut bytes = fs::read(&self.image.initrd).unwrap();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        for (name, mode, content) in files.iter().chain([&("TRAILER!!!", 0, &b""[..])]) {
            let fields = [1, *mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
            bytes.extend(b"070701");
            bytes.extend(fields.map(|field| format!("{field:08X}")).concat().bytes());
            bytes.extend(name.bytes().chain([0]));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A verb in the daemon's network, where its guests are.
    #[allow(dead_code, reason = "only where guests are reached by ssh")]
    pub(crate) fn kvmtune_inside(&self, args: &[&str]) -> Command {
        let outside = self.kvmtune(args);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.child.id()))
            .arg(outside.get_program())
            .args(outside.get_args())
            .current_dir(self.folder())
            .stdin(Stdio::null());
        command
    }

    /// An experiment on a domain of this daemon, and the workloads beside it.
    pub(crate) fn experiment(&self, domain: &str, rest: &str) -> PathBuf {
        let folder = self.folder().join("workloads");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tiny.toml"), TINY).unwrap();
        fs::write(
            folder.join("odd.toml"),
            TINY.replace("\"fio\", \"-", "\"kt-odd\", \"-"),
        )
        .unwrap();
        let file = self.folder().join(format!("{domain}.toml"));
        let guest = format!(
            "domain = \"{domain}\"\nconnect = \"{}\"\ndisk = \"vdb\"",
            self.uri()
        );
        fs::write(&file, format!("[guest]\n{guest}\n{rest}\n[design]\nblocks = 2\n")).unwrap();
        file
    }

    pub(crate) fn kvmtune(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvmtune"));
        command
            .current_dir(self.folder())
            .args(["--state", "state", "--results", "results", "--cache"])
            .arg(common::cache())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs kvmtune to its end and shows what it said when it ends otherwise than expected.
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> Output {
        let done = self.kvmtune(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            done.status.code(),
            Some(code),
            "{args:?}\n{}{}",
            text(&done.stdout),
            text(&done.stderr)
        );
        done
    }
}

/// fio on the scratch file, for a second; tmpfs takes no direct I/O.
const TINY: &str = r#"summary = "random reads of a small file"
run = "guest"
argv = ["fio", "--name=t", "--filename={scratch}", "--size=2MiB", "--rw=randread", "--bs=4k", "--time_based",
        "--runtime={time}", "--output={result}", "--output-format=json"]
time = "1s"
parser = "fio"
[[metric]]
name = "iops"
unit = "1/s"
goal = "maximize"
"#;

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            for name in connection.domains().unwrap_or_default() {
                let domain = connection.lookup(&name);
                if let Err(error) = domain.and_then(|d| if d.is_active()? { d.destroy() } else { Ok(()) }) {
                    eprintln!("left running: {error}");
                }
            }
        }
        self.connection = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user's domain and what it was like before kvmtune came.
pub(crate) struct User<'d> {
    pub(crate) domain: Domain,
    definition: String,
    stored: String,
    daemon: &'d Daemon,
}

impl User<'_> {
    /// Starts it and waits for its agent.
    pub(crate) fn boot(&self) {
        self.domain.create().unwrap();
        self.wait_for_agent();
    }

    pub(crate) fn agent(&self) -> Agent {
        Agent::new(self.domain.clone())
    }

    pub(crate) fn wait_for_agent(&self) {
        let agent = self.agent();
        wait_for("the guest agent", Duration::from_mins(2), || {
            agent.ping(Duration::from_secs(1)).is_ok()
        });
    }

    pub(crate) fn shut_down(&self) {
        self.domain.shutdown(ShutdownBy::Agent).unwrap();
        wait_for("the end of the guest", Duration::from_mins(1), || !self.is_on());
    }

    pub(crate) fn is_on(&self) -> bool {
        self.domain.is_active().unwrap()
    }

    pub(crate) fn swappiness(&self) -> String {
        let bytes = self.agent().read_file("/proc/sys/vm/swappiness", 100).unwrap();
        String::from_utf8(bytes).unwrap().trim().to_owned()
    }

    pub(crate) fn shares(&self) -> i64 {
        let all = self.domain.parameters(ParameterGroup::Scheduler).unwrap();
        all["cpu_shares"].as_i64().unwrap()
    }

    /// The cache mode of the data disk as it runs.
    pub(crate) fn cache(&self) -> Option<String> {
        let xml = self.domain.xml_live().unwrap_or_default();
        let disk = kvmtune::host::xml::disk(&xml, Some("vdb")).ok()?;
        disk.driver.get("cache").cloned()
    }

    pub(crate) fn assert_definition_is_untouched(&self) {
        assert_eq!(self.domain.xml_inactive().unwrap(), self.definition);
        assert_eq!(self.daemon.stored(self.domain.name()), self.stored);
    }
}

/// Waits until `done` or panics after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < limit,
            "{what} did not happen within {limit:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}
