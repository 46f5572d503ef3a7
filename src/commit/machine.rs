//! The machine a commit is made on: its files below a root, its live values, and the tools that make more of a file.

use super::change::ACTIVE_PROFILE;
use super::root::Root;
use super::{CommitError, Domains, FileState};
use crate::host::{Host, is_installed, run_tool};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// GRUB's menu on Debian and its kin.
const MENU: &str = "/boot/grub/grub.cfg";
/// os-prober may look at every disk.
const MENU_LIMIT: Duration = Duration::from_mins(5);
/// A profile can start scripts.
const PROFILE_LIMIT: Duration = Duration::from_mins(2);

type Observer = Box<dyn FnMut(u64) -> io::Result<()>>;

/// Told of each step before it is made: so that tests can fail or end there.
#[derive(Clone, Default)]
pub struct Watch(Rc<RefCell<Option<(u64, Observer)>>>);

impl Watch {
    /// Calls `observer` before each step, with the number of steps so far, from 1.
    pub fn observe(&self, observer: Observer) {
        *self.0.borrow_mut() = Some((0, observer));
    }

    /// The steps so far, since somebody asked to be told.
    pub fn steps(&self) -> u64 {
        self.0.borrow().as_ref().map_or(0, |(count, _)| *count)
    }

    /// Another step comes next.
    pub(super) fn step(&self) -> io::Result<()> {
        match &mut *self.0.borrow_mut() {
            None => Ok(()),
            Some((count, observer)) => {
                *count += 1;
                observer(*count)
            }
        }
    }
}

/// What is run on a machine besides writing files. Each is a program with its arguments.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// Makes GRUB's menu, and where; `None` where that is for somebody else to do.
    pub menu: Option<(Vec<String>, PathBuf)>,
    /// `tuned-adm`; `None` where tuned does not run.
    pub tuned: Option<Vec<String>>,
}

impl Tools {
    /// Those of this host.
    pub fn of_host(tuned_runs: bool) -> Self {
        let words = |argv: &[&str]| argv.iter().map(ToString::to_string).collect::<Vec<_>>();
        let menus: [&[&str]; 2] = [&["update-grub"], &["grub-mkconfig", "-o", MENU]];
        // The tools can be installed where nothing boots by GRUB.
        let has_menu = Path::new("/boot/grub").is_dir();
        let tool = menus.into_iter().find(|argv| has_menu && is_installed(argv[0]));
        let menu = tool.map(|argv| (words(argv), MENU.into()));
        let tuned = (tuned_runs && is_installed("tuned-adm")).then(|| words(&["tuned-adm"]));
        Self { menu, tuned }
    }
}

/// What a commit reaches.
pub struct Machine<'m> {
    /// Its files.
    pub root: Root,
    /// Its live values; `None` for an image.
    pub host: Option<&'m mut dyn Host>,
    /// Its tools.
    pub tools: Tools,
    /// Told of each step.
    pub watch: Watch,
    /// The domains on it.
    pub domains: Domains,
}

impl Machine<'_> {
    /// What stands at a path.
    pub fn look(&self, path: &Path) -> Result<FileState, CommitError> {
        self.root.look(path)
    }

    /// Puts a state in place.
    pub fn place(&self, path: &Path, state: &FileState) -> Result<(), CommitError> {
        self.root.place(path, state, &self.watch)
    }

    /// Puts an earlier state in place, unless it is there: where nothing could be written nothing need be.
    pub(super) fn put_back(&self, path: &Path, state: &FileState) -> Result<(), CommitError> {
        if self.root.is_at(path, state)? {
            Ok(())
        } else {
            self.place(path, state)
        }
    }

    /// The live values.
    pub fn host(&mut self) -> Result<&mut dyn Host, CommitError> {
        match &mut self.host {
            Some(host) => Ok(&mut **host),
            None => Err(CommitError::Refused("an image has no live values".into())),
        }
    }

    /// Makes GRUB's menu, where a tool for it is installed.
    pub fn make_menu(&self) -> Result<(), CommitError> {
        let argv = self.tools.menu.as_ref().map(|(argv, _)| argv.as_slice());
        self.tool(argv, &[], MENU_LIMIT)
    }

    /// Switches tuned from a profile to another, or off for an empty name. Where it does not run its note of the active one is
    /// changed, so that it does not look for a profile that is gone when it starts.
    pub fn switch_profile(&self, from: &str, name: &str) -> Result<(), CommitError> {
        if self.tools.tuned.is_none() {
            let path = Path::new(ACTIVE_PROFILE);
            let found = self.look(path)?;
            if found.text().is_none_or(|text| text.trim() != from) || from == name {
                return Ok(());
            }
            return self.place(path, &found.with_text(&format!("{name}\n")));
        }
        let words: &[&str] = if name.is_empty() {
            &["off"]
        } else {
            &["profile", name]
        };
        self.tool(self.tools.tuned.as_deref(), words, PROFILE_LIMIT)
    }

    fn tool(&self, argv: Option<&[String]>, more: &[&str], limit: Duration) -> Result<(), CommitError> {
        let Some(argv) = argv else { return Ok(()) };
        let argv: Vec<_> = argv
            .iter()
            .cloned()
            .chain(more.iter().map(ToString::to_string))
            .collect();
        self.step("run", Path::new(argv.first().map_or("", String::as_str)))?;
        run_tool(&argv, limit)?;
        Ok(())
    }

    /// Another step comes next.
    pub(super) fn step(&self, doing: &'static str, path: &Path) -> Result<(), CommitError> {
        let failed = |source| CommitError::File {
            doing,
            path: path.into(),
            source,
        };
        self.watch.step().map_err(failed)
    }
}
