//! What a guest is built from: machine type, emulator, kernel, first root, data disk's image. Judges levels before
//! they are used, and reads back from QEMU's process and monitor what really runs.
//!
//! Knows nothing of plans; an answer says what a level means, or in words why it cannot be used.

use super::libvirt::{Connection, Domain};
use super::xml::{self, Build, DiskXml};
use super::{HostError, readback};
use crate::facts::Meaning;
use crate::lab::Lab;
use crate::tunable::XmlSetting;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The first bytes of a qcow2 image.
const QCOW2: &[u8] = b"QFI\xfb";

/// What is needed to judge a level.
pub(super) struct Judge<'h> {
    pub(super) connection: &'h Connection,
    pub(super) lab: Option<&'h mut Lab>,
    pub(super) definition: &'h str,
    /// Target name of the data disk.
    pub(super) disk: &'h str,
    /// Emulators the experiment names.
    pub(super) emulators: &'h mut Vec<String>,
}

impl Judge<'_> {
    /// `None` for what this module does not know.
    pub(super) fn meaning(&mut self, setting: &XmlSetting, value: &str) -> Option<Meaning> {
        let judged = match setting {
            XmlSetting::Machine => self.machine(value).map(Meaning::Is),
            XmlSetting::Emulator => self.emulator(value).map(Meaning::Is),
            XmlSetting::Kernel => self.kernel(value).map(Meaning::Is),
            XmlSetting::Initrd => initrd(value).map(Meaning::Is),
            XmlSetting::DiskImage => self.image(value).map(|format| Meaning::Image {
                format: format.into(),
            }),
            XmlSetting::CpuMode => self.cpu_mode(value).map(Meaning::Is),
            XmlSetting::Topology
            | XmlSetting::NumaMode
            | XmlSetting::NumaNodes
            | XmlSetting::Placement
            | XmlSetting::GuestBoot(_)
            | XmlSetting::Place(_) => self.tried(setting, value).err().map(Err)?,
            XmlSetting::DiskCache | XmlSetting::DiskIo | XmlSetting::Hugepages => return None,
        };
        // What an emulator says can have several lines.
        let line = |why: String| Meaning::Unusable(why.split_whitespace().collect::<Vec<_>>().join(" "));
        Some(judged.unwrap_or_else(line))
    }

    /// Whether the definition has a place for it.
    fn tried(&self, setting: &XmlSetting, value: &str) -> Result<(), String> {
        let changes = [(setting.clone(), value.to_string())].into();
        let tried = xml::with_settings(self.definition, &changes, Some(self.disk));
        tried.map(drop).map_err(|e| e.to_string())
    }

    /// libvirt says which modes host and emulator can have.
    fn cpu_mode(&self, value: &str) -> Result<String, String> {
        let own = xml::value(self.definition, &XmlSetting::CpuMode, Some(self.disk));
        if value == "none" || own.is_ok_and(|own| own == value) {
            return Ok(value.into());
        }
        self.tried(&XmlSetting::CpuMode, value)?;
        let build = xml::build(self.definition).map_err(|e| e.to_string())?;
        let modes = self
            .connection
            .cpu_modes(&build.emulator, &build.arch, &build.machine, &build.kind)
            .map_err(|e| e.to_string())?;
        if modes.iter().any(|mode| mode == value) {
            return Ok(value.into());
        }
        Err(format!(
            "libvirt offers {} to a guest of type {} here",
            modes.join(", "),
            build.kind
        ))
    }

    /// The machine type without its alias. All emulators that have it must mean the same by it.
    fn machine(&mut self, value: &str) -> Result<String, String> {
        let build = xml::build(self.definition).map_err(|e| e.to_string())?;
        let emulators: Vec<_> = [build.emulator.clone()]
            .into_iter()
            .chain(self.emulators.iter().cloned())
            .collect();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut why = String::new();
        for emulator in emulators {
            match machine_of(self.connection, &build, &emulator, value) {
                Ok(machine) => {
                    found.entry(machine).or_insert(emulator);
                }
                Err(error) => why = error,
            }
        }
        let mut names = found.into_iter();
        match (names.next(), names.next()) {
            (None, _) => Err(format!("{why}; `virsh capabilities` lists the machine types")),
            (Some((machine, _)), None) => Ok(machine),
            (Some((one, its)), Some((other, others))) => Err(format!(
                "it is {one} of {its} and {other} of {others}; write the one you mean"
            )),
        }
    }

    fn emulator(&mut self, value: &str) -> Result<String, String> {
        let (file, mode) = plain_file(value)?;
        if mode & 0o111 == 0 {
            return Err(format!("{value} is not executable; chmod +x it"));
        }
        // A killed run's guest is found by it.
        let is_qemu = file
            .file_name()
            .is_some_and(|n| n.to_string_lossy().contains("qemu"));
        if !is_qemu {
            return Err(format!(
                "{} does not have `qemu` in its name, by which its processes are told from others; copy or rename it",
                file.display()
            ));
        }
        let build = xml::build(self.definition).map_err(|e| e.to_string())?;
        self.connection
            .machine(Some(value), &build.arch, None, &build.kind)
            .map_err(|e| format!("libvirt cannot use {value}: {e}"))?;
        if !self.emulators.iter().any(|known| known == value) {
            self.emulators.push(value.to_string());
        }
        Ok(value.to_string())
    }

    fn kernel(&mut self, value: &str) -> Result<String, String> {
        if value == "none" {
            return match self.lab {
                Some(_) => Err("the lab's guest has no disk to boot from".into()),
                None => Ok(value.into()),
            };
        }
        if value.starts_with('/') {
            return plain_file(value).map(|_| value.to_string());
        }
        let Some(lab) = &mut self.lab else {
            return Err("only the lab has kernels by release; write the kernel's path".into());
        };
        let image = lab.image_with(value).map_err(|e| super::local::chain(&e))?;
        Ok(image.release.clone())
    }

    /// The format of an image that the disk can have.
    fn image(&self, value: &str) -> Result<&'static str, String> {
        let disks = xml::disks(self.definition).map_err(|e| e.to_string())?;
        let own = disks.iter().find(|d| d.target == self.disk);
        if own.is_some_and(|d| d.source.as_deref() == Some(value)) {
            return format_of(value);
        }
        let (file, _) = plain_file(value)?;
        let others = disks.iter().filter(|d| d.target != self.disk);
        if let Some(other) = others.into_iter().find(|d| is_source(d, &file)) {
            return Err(format!(
                "{value} is the guest's own disk {} already",
                other.target
            ));
        }
        if let Some(holder) = self.holder(&file) {
            return Err(format!("{value} is in use: it is {holder}; copy it"));
        }
        format_of(value)
    }

    /// Another domain, or a loop device, that has the file for a disk.
    fn holder(&self, file: &Path) -> Option<String> {
        let own = xml::uuid(self.definition);
        let names = self.connection.domains().unwrap_or_default();
        for domain in names.iter().filter_map(|name| self.connection.lookup(name).ok()) {
            if own.as_deref() == Some(&domain.uuid().to_string()) {
                continue;
            }
            let definitions = [domain.xml_live(), domain.xml_inactive()];
            let disks = definitions
                .iter()
                .flatten()
                .flat_map(|xml| xml::disks(xml).unwrap_or_default());
            if let Some(disk) = disks.into_iter().find(|d| is_source(d, file)) {
                return Some(format!("disk {} of domain {}", disk.target, domain.name()));
            }
        }
        let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        loops.into_iter().find_map(|entry| {
            let backing = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            let device = entry.file_name().to_string_lossy().into_owned();
            (Path::new(backing.trim_end()) == file).then(|| format!("behind /dev/{device}"))
        })
    }
}

/// The machine type an emulator means by a name.
fn machine_of(connection: &Connection, build: &Build, emulator: &str, name: &str) -> Result<String, String> {
    connection
        .machine(Some(emulator), &build.arch, Some(name), &build.kind)
        .map_err(|e| e.to_string())
}

/// The machine type of a definition without its alias; as written where libvirt does not know it.
pub(super) fn defined_machine(connection: &Connection, definition: &str) -> Result<String, xml::XmlError> {
    let build = xml::build(definition)?;
    let known = machine_of(connection, &build, &build.emulator, &build.machine);
    Ok(known.unwrap_or(build.machine))
}

fn initrd(value: &str) -> Result<String, String> {
    match value {
        "none" => Ok(value.into()),
        path if path.starts_with('/') => plain_file(path).map(|_| path.to_string()),
        _ => Err("write its path, or `none`; the lab's own goes with its kernel".into()),
    }
}

/// The file behind a path, and its mode.
fn plain_file(path: &str) -> Result<(PathBuf, u32), String> {
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {path}"),
        _ => format!("{path} cannot be looked at: {e}"),
    };
    let file = fs::canonicalize(path).map_err(fail)?;
    let about = fs::metadata(&file).map_err(fail)?;
    if about.is_file() {
        Ok((file, about.permissions().mode()))
    } else {
        Err(format!("{path} is not a plain file"))
    }
}

fn is_source(disk: &DiskXml, file: &Path) -> bool {
    let source = disk.source.as_deref().map(fs::canonicalize);
    source.is_some_and(|path| path.is_ok_and(|path| path == file))
}

/// How an image begins. It is compared with what definition and treatment say, and never taken for it: a guest can write
/// the beginning of its raw disk.
fn format_of(path: &str) -> Result<&'static str, String> {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .map_err(|e| format!("{path} cannot be read: {e}"))?;
    Ok(if magic == QCOW2 { "qcow2" } else { "raw" })
}

/// Fails when the data disk's image does not begin as its format does: as another format it would be a disk of garbage.
pub(super) fn require_format(xml: &str, target: &str) -> Result<(), HostError> {
    let fail = |cause: String| HostError::new("start the guest", cause);
    let disk = xml::disk(xml, Some(target)).map_err(|e| fail(e.to_string()))?;
    let Some(source) = &disk.source else { return Ok(()) };
    let said = disk.driver.get("type").map_or("raw", String::as_str);
    let found = format_of(source).map_err(fail)?;
    if said == found || !["raw", "qcow2"].contains(&said) {
        return Ok(());
    }
    Err(fail(format!(
        "{source} is {found}, and disk {target} is {said}; set domain.disk.format={found} with it, or convert it with \
         qemu-img"
    )))
}

/// The value of one of these settings as the running QEMU has it: machine, emulator, kernel, first root or image.
pub(super) fn running(domain: &Domain, setting: &XmlSetting, target: &str) -> Result<String, HostError> {
    let doing = format!("read domain XML {setting} of {}", domain.name());
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    let pid = domain.qemu_pid().map_err(|e| fail(&e))?;
    let xml = || domain.xml_live().map_err(|e| fail(&e));
    match setting {
        XmlSetting::Machine => machine(domain),
        XmlSetting::Emulator => {
            let runs = fs::read_link(format!("/proc/{pid}/exe")).map_err(|e| fail(&e))?;
            let named = xml::build(&xml()?).map_err(|e| fail(&e))?.emulator;
            let same = fs::canonicalize(&named).is_ok_and(|file| file == runs);
            Ok(if same { named } else { runs.display().to_string() })
        }
        XmlSetting::Kernel | XmlSetting::Initrd => {
            let command = fs::read(format!("/proc/{pid}/cmdline")).map_err(|e| fail(&e))?;
            let option = if *setting == XmlSetting::Kernel {
                "-kernel"
            } else {
                "-initrd"
            };
            Ok(argument(&command, option).unwrap_or_else(|| "none".into()))
        }
        _ => image(domain, &xml::disk(&xml()?, Some(target)).map_err(|e| fail(&e))?),
    }
}

/// QEMU's type of its machine object: `pc-q35-7.2-machine`.
fn machine(domain: &Domain) -> Result<String, HostError> {
    let command = r#"{"execute":"qom-get","arguments":{"path":"/machine","property":"type"}}"#;
    let reply = readback::ask(domain, "qom-get", command)?;
    let name = reply.as_str().and_then(|n| n.strip_suffix("-machine"));
    name.map(str::to_string)
        .ok_or_else(|| HostError::new("ask QEMU for its machine type", format!("it answers {reply}")))
}

/// The file QEMU has open for the disk.
fn image(domain: &Domain, disk: &DiskXml) -> Result<String, HostError> {
    let block = readback::block(domain, disk, "its image")?;
    let file = block["inserted"]["image"]["filename"].as_str();
    file.map(str::to_string)
        .ok_or_else(|| HostError::new("ask QEMU for its image", format!("disk {} has none", disk.target)))
}

/// What follows an option on a command line: the last one counts, and a text that looks like it does not.
fn argument(command: &[u8], option: &str) -> Option<String> {
    let words: Vec<_> = command.split(|b| *b == 0).collect();
    let place = (1..words.len().saturating_sub(1))
        .rev()
        .find(|&i| words[i] == option.as_bytes() && words[i - 1] != b"-append")?;
    Some(String::from_utf8_lossy(words[place + 1]).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_last_option_counts() {
        let command = b"/usr/bin/qemu\0-kernel\0/a\0-append\0-kernel\0-initrd\0/i\0-kernel\0/b\0";
        assert_eq!(argument(command, "-kernel").as_deref(), Some("/b"));
        assert_eq!(argument(command, "-initrd").as_deref(), Some("/i"));
        assert_eq!(argument(b"qemu\0-append\0-kernel\0x\0", "-kernel"), None);
        assert_eq!(argument(b"qemu\0-kernel\0", "-initrd"), None);
        assert_eq!(argument(b"", "-kernel"), None);
    }

    #[test]
    fn only_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").display().to_string();
        assert!(plain_file(&path).unwrap_err().contains("no file"));
        assert!(initrd(&path).is_err() && initrd("6.12").is_err());
        assert!(
            plain_file(&folder.path().display().to_string())
                .unwrap_err()
                .contains("plain")
        );
        fs::write(&path, "kernel").unwrap();
        assert_eq!(initrd(&path), Ok(path.clone()));
    }

    #[test]
    fn a_format_is_never_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (raw, qcow2) = (file("raw", &[0; 512]), file("qcow2", b"QFI\xfb\0\0\0\x03"));
        let disk = |format: &str, image: &str| {
            let xml = format!(
                "<domain><devices><disk><driver {format}/><source file='{image}'/><target dev='vda'/></disk></devices></domain>"
            );
            require_format(&xml, "vda").map_err(|e| e.to_string())
        };
        assert_eq!(disk("type='raw'", &raw), Ok(()));
        assert_eq!(disk("type='qcow2'", &qcow2), Ok(()));
        assert!(disk("", &qcow2).unwrap_err().contains("disk vda is raw"));
        assert!(disk("type='qcow2'", &raw).unwrap_err().contains("is qcow2"));
        assert!(disk("", &file("empty", b"")).is_err());
    }
}
