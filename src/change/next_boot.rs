//! The command line of the host's next boot: changed for one boot, noted in the journal before, and put back.
//!
//! The note outlives the boot it is made in, as what it is about does. It is closed when the kernel runs with the values
//! it began with and nothing of ours is left for the next boot. Does not know what is measured in between.

use super::ChangeError;
use super::journal::{Journal, NextBootUndo, Undo};
use super::recover::Fate;
use crate::host::{Boots, HostError, NextBoot};
use crate::tunable::{BootEdit, BootParameter, Kind, edited, grub_drop_in};

impl NextBootUndo {
    /// The edits that make the values of `line` again.
    fn back(&self) -> Vec<BootEdit> {
        let edit = |parameter: &BootParameter| {
            let value = Kind::Boot.parse(&parameter.value_in(&self.line)).ok()?;
            Some(BootEdit {
                parameter: parameter.clone(),
                value,
            })
        };
        self.parameters.iter().filter_map(edit).collect()
    }

    /// The parameters that `line` has other values of, with what they are and what they were.
    fn changed<'u>(&'u self, line: &str) -> Vec<(&'u BootParameter, String, String)> {
        let all = self.parameters.iter();
        all.map(|p| (p, p.value_in(line), p.value_in(&self.line)))
            .filter(|(_, is, was)| is != was)
            .collect()
    }

    /// The command line with these edits.
    pub fn line_with(&self, edits: &[BootEdit]) -> String {
        edited(&self.line, edits)
    }

    /// What stands at its place so that the next boot has these edits.
    fn content(&self, edits: &[BootEdit]) -> Option<String> {
        match self.place {
            NextBoot::Print => None,
            NextBoot::Grub => Some(grub_drop_in(edits)),
            NextBoot::File(_) => Some(self.line_with(edits) + "\n"),
        }
    }

    /// What stands there so that the next boot is as it was before.
    fn original(&self) -> Option<String> {
        match self.place {
            NextBoot::Print | NextBoot::Grub => None,
            NextBoot::File(_) => Some(self.line.clone() + "\n"),
        }
    }
}

/// Notes in the journal what the host is booted with now, unless that was noted by an earlier boot of this run.
pub fn note_next_boot(
    boots: &mut dyn Boots,
    journal: &mut Journal,
    place: &NextBoot,
    parameters: Vec<BootParameter>,
) -> Result<NextBootUndo, ChangeError> {
    if let Some((_, undo)) = journal.next_boot() {
        return Ok(undo.clone());
    }
    let prior = boots.read_next(place)?;
    if let (NextBoot::Grub, Some(_)) = (place, &prior) {
        let doing = format!("arrange for the next boot {place}");
        return Err(HostError::new(doing, "kvmtune did not write what is there; take it away").into());
    }
    let undo = NextBootUndo {
        place: place.clone(),
        machine: boots.machine(),
        line: boots.command_line()?,
        parameters,
        prior,
    };
    journal.append(vec![Undo::NextBoot(undo.clone())])?;
    Ok(undo)
}

/// Arranges for the next boot to have these edits. It was noted before.
pub fn set_next_boot(
    boots: &mut dyn Boots,
    journal: &Journal,
    edits: &[BootEdit],
) -> Result<(), ChangeError> {
    let Some((_, undo)) = journal.next_boot() else {
        return Err(HostError::new(
            "arrange for the next boot",
            "nothing is noted of it in the journal",
        )
        .into());
    };
    let content = undo.content(edits);
    put(boots, undo, content.as_deref())?;
    Ok(())
}

/// Makes the boot after this one what it was before kvmtune came: whatever happens to the host meanwhile, it comes up
/// with its own command line. The note stays.
pub fn disarm_next_boot(boots: &mut dyn Boots, journal: &Journal) -> Result<(), ChangeError> {
    if let Some((_, undo)) = journal.next_boot() {
        put(boots, undo, undo.original().as_deref())?;
    }
    Ok(())
}

/// Whether the kernel runs with the values that were noted; true when nothing is.
pub fn is_boot_original(boots: &mut dyn Boots, journal: &Journal) -> Result<bool, ChangeError> {
    let Some((_, undo)) = journal.next_boot() else {
        return Ok(true);
    };
    let line = boots.command_line()?;
    Ok(undo.changed(&line).is_empty())
}

/// Puts the next boot back. The note is closed when this boot is as it was, too.
pub fn end_next_boot(boots: &mut dyn Boots, journal: &mut Journal) -> Result<Fate, ChangeError> {
    let Some((seq, undo)) = journal.next_boot() else {
        return Ok(Fate::Gone);
    };
    let fate = undo_next_boot(boots, undo, false)?;
    if fate == Fate::Restored {
        journal.close(vec![seq])?;
        journal.compact()?;
    }
    Ok(fate)
}

/// Puts the next boot back, as recovery does. When a run `keeps` its note, it goes on from this boot.
pub(super) fn undo_next_boot(
    boots: &mut dyn Boots,
    undo: &NextBootUndo,
    keeps: bool,
) -> Result<Fate, HostError> {
    if boots.machine() != undo.machine {
        let why = "it is of another machine; move the journal back there";
        return Ok(Fate::Left(why.into()));
    }
    let line = boots.command_line()?;
    let changed = undo.changed(&line);
    if changed.is_empty() && !keeps {
        put(boots, undo, undo.prior.as_deref())?;
        return Ok(Fate::Restored);
    }
    put(boots, undo, undo.original().as_deref())?;
    if changed.is_empty() {
        let how = "`kvmtune run --across-reboots --resume` goes on, `kvmtune recover` ends it";
        return Ok(Fate::Awaits(how.into()));
    }
    let told = changed
        .iter()
        .map(|(name, is, was)| format!("{name} is `{is}` and was `{was}`"));
    let told = told.collect::<Vec<_>>().join(", ");
    let by_hand = match undo.place {
        NextBoot::Print => format!(" with {}", list(&undo.back())),
        NextBoot::Grub | NextBoot::File(_) => String::new(),
    };
    Ok(Fate::Awaits(format!(
        "in this boot {told}; reboot the host{by_hand}"
    )))
}

/// `a=b, quiet taken away`.
pub(super) fn list(edits: &[BootEdit]) -> String {
    edits.iter().map(BootEdit::told).collect::<Vec<_>>().join(", ")
}

/// Writes, unless it is there, and believes what reads back. A drop-in that is there says nothing of the menu.
fn put(boots: &mut dyn Boots, undo: &NextBootUndo, content: Option<&str>) -> Result<(), HostError> {
    if undo.place == NextBoot::Print {
        return Ok(());
    }
    let is_all = undo.place != NextBoot::Grub || content.is_none();
    if is_all && boots.read_next(&undo.place)?.as_deref() == content {
        return Ok(());
    }
    boots.write_next(&undo.place, content)?;
    if boots.read_next(&undo.place)?.as_deref() == content {
        return Ok(());
    }
    let doing = format!("arrange for the next boot {}", undo.place);
    Err(HostError::new(doing, "something else was read back"))
}
