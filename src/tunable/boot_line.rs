//! The command line of the next boot: edited as one line, or as a drop-in for GRUB's configuration.
//!
//! Knows checked names and words only; writes no file. Every name and value is of a few plain characters, so that none
//! can become anything but a word.

use super::name::{ABSENT, BootParameter, PRESENT};
use super::value::{Kind, Value, ValueError};
use super::{Address, Setting};
use serde::{Deserialize, Serialize};

/// One parameter and what it is to be; [`ABSENT`] takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct BootEdit {
    /// Which one.
    pub parameter: BootParameter,
    /// Its value.
    pub value: Value,
}

/// An edit in a file, where its value is still to be checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    parameter: BootParameter,
    value: String,
}

impl TryFrom<Written> for BootEdit {
    type Error = ValueError;

    fn try_from(written: Written) -> Result<Self, ValueError> {
        Ok(Self {
            parameter: written.parameter,
            value: Kind::Boot.parse(&written.value)?,
        })
    }
}

impl From<BootEdit> for Written {
    fn from(edit: BootEdit) -> Self {
        Self {
            parameter: edit.parameter,
            value: edit.value.to_string(),
        }
    }
}

impl BootEdit {
    /// The edits that settings of the host's command line are; others are none.
    pub fn of(settings: &[Setting]) -> Vec<Self> {
        let edit = |setting: &Setting| match &setting.address {
            Address::HostBoot(parameter) => Some(Self {
                parameter: parameter.clone(),
                value: setting.value.clone(),
            }),
            _ => None,
        };
        settings.iter().filter_map(edit).collect()
    }

    /// The words it puts on the command line.
    pub fn words(&self) -> String {
        self.parameter.put_in("", self.value.as_str())
    }

    /// What is to be done to a command line, in words: `transparent_hugepage=never`, `quiet taken away`.
    pub fn told(&self) -> String {
        match self.value.as_str() {
            ABSENT => format!("{} taken away", self.parameter),
            PRESENT => self.parameter.to_string(),
            value => format!("{}={value}", self.parameter),
        }
    }
}

/// `line` with all edits.
pub fn edited(line: &str, edits: &[BootEdit]) -> String {
    let put = |line: String, edit: &BootEdit| edit.parameter.put_in(&line, edit.value.as_str());
    edits.iter().fold(line.trim().to_string(), put)
}

/// Ends the command line of the usual entries.
const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";

const NEXT_BOOT: &str = "# Written by kvmtune for the next boot; `kvmtune recover` takes it away.\n";

const HEAD: &str = r#"# Every parameter below is taken out of both variables, because some count once only, and put at the end.
kvmtune_without() {
    kvmtune_new= kvmtune_held=
    set -f
    for kvmtune_word in $3; do
        kvmtune_is=no
        case "$kvmtune_word" in
            "$2" | "$2"=*)
                if [ -z "$1" ]; then
                    kvmtune_is=yes
                elif [ "$kvmtune_held" = "$1" ]; then
                    kvmtune_is=yes kvmtune_held=
                fi
                ;;
        esac
        if [ "$kvmtune_is" = no ]; then
            kvmtune_new="$kvmtune_new${kvmtune_held:+ $kvmtune_held}"
            kvmtune_held=$kvmtune_word
        fi
    done
    set +f
    kvmtune_new="$kvmtune_new${kvmtune_held:+ $kvmtune_held}"
    printf '%s' "${kvmtune_new# }"
}
"#;

/// A drop-in of /etc/default/grub.d that edits the command line so. `GRUB_CMDLINE_LINUX_DEFAULT` ends the line of the
/// usual entries and is not part of the recovery ones: those stay without what is tried.
pub fn grub_drop_in(edits: &[BootEdit]) -> String {
    NEXT_BOOT.to_string() + &grub_edits(edits)
}

/// What edits the command line in a drop-in, whoever's it is.
pub fn grub_edits(edits: &[BootEdit]) -> String {
    let lines = |edit: &BootEdit| {
        let (leader, name) = edit.parameter.parts();
        let leader = leader.unwrap_or_default();
        let without = |variable: &str| {
            format!("{variable}=$(kvmtune_without '{leader}' '{name}' \"${{{variable}-}}\")\n")
        };
        let put = if edit.value.as_str() == ABSENT {
            String::new()
        } else {
            format!("{DEFAULT}=\"${{{DEFAULT}:+${DEFAULT} }}\"'{}'\n", edit.words())
        };
        without("GRUB_CMDLINE_LINUX") + &without(DEFAULT) + &put
    };
    HEAD.to_string() + &edits.iter().map(lines).collect::<String>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::process::Command;

    fn edit(parameter: &str, value: &str) -> BootEdit {
        BootEdit {
            parameter: parameter.parse().unwrap(),
            value: Kind::Boot.parse(value).unwrap(),
        }
    }

    /// What the shell that reads the drop-in makes of GRUB's two variables.
    fn by_shell(linux: &str, default: &str, edits: &[BootEdit]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("next.cfg");
        std::fs::write(&file, grub_drop_in(edits)).unwrap();
        let done = Command::new("sh")
            .args([
                "-euc",
                ". \"$1\"; printf '%s %s' \"$GRUB_CMDLINE_LINUX\" \"$GRUB_CMDLINE_LINUX_DEFAULT\"",
                "sh",
            ])
            .arg(&file)
            .env("GRUB_CMDLINE_LINUX", linux)
            .env("GRUB_CMDLINE_LINUX_DEFAULT", default)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(done.stderr.is_empty(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    #[test]
    fn grub_reads_the_same_values_as_we_do() {
        let lines = [
            ("", "quiet"),
            ("", ""),
            ("mitigations=auto net.ifnames=0", "quiet splash"),
            (
                "console=ttyS0 *",
                "mitigations=off hugepagesz=1G hugepages=2 hugepages=7",
            ),
            (
                "hugepagesz=2M hugepages=8 hugepagesz=1G hugepages=2",
                "quiet mitigations",
            ),
            ("dyndbg=\"file a.c +p\"", "mitigationsx=1 quiet=2"),
        ];
        let cases = [
            vec![edit("mitigations", "auto,nosmt")],
            vec![edit("quiet", ABSENT), edit("mitigations", ABSENT)],
            vec![edit("quiet", PRESENT)],
            vec![edit("hugepagesz=1G hugepages", "4"), edit("mitigations", "off")],
            vec![edit("hugepagesz=1G hugepages", ABSENT)],
        ];
        for (linux, default) in lines {
            for edits in &cases {
                let made = by_shell(linux, default, edits);
                let ours = edited(&format!("{linux} {default}"), edits);
                for edit in edits {
                    assert_eq!(
                        edit.parameter.value_in(&made),
                        edit.value.as_str(),
                        "{linux}|{default}: {made}"
                    );
                    let once = made
                        .split(' ')
                        .filter(|w| !w.is_empty() && *w == edit.words())
                        .count();
                    assert!(once <= 1, "{made}");
                }
                let sorted = |line: &str| {
                    let mut words: Vec<_> = line.split_whitespace().map(str::to_string).collect();
                    words.sort();
                    words
                };
                assert_eq!(sorted(&made), sorted(&ours), "{linux}|{default}: {edits:?}");
            }
        }
    }

    #[test]
    fn an_edit_in_a_file_is_checked() {
        let good = serde_json::to_string(&edit("mitigations", "off")).unwrap();
        assert_eq!(
            serde_json::from_str::<BootEdit>(&good).unwrap(),
            edit("mitigations", "off")
        );
        for bad in [
            r#"{"parameter":"mitigations","value":"a'b"}"#,
            r#"{"parameter":"mitigations","value":"$(x)"}"#,
            r#"{"parameter":"a;b","value":"1"}"#,
            r#"{"parameter":"a","value":"1 b"}"#,
            r#"{"parameter":"a","value":"1","more":1}"#,
        ] {
            assert!(serde_json::from_str::<BootEdit>(bad).is_err(), "{bad}");
        }
    }
}
