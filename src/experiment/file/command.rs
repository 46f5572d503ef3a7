//! The `get` and `set` keys of a `guest-exec:NAME` factor.

use crate::decode::{Field, Reader};
use crate::tunable::{GuestCommands, Home, Tunable};

const MAX_WORDS: usize = 32;
const MAX_LENGTH: usize = 1000;
const VALUE: &str = "{value}";

/// True for a tunable whose commands must stand in the file.
pub(super) fn is_unwritten(tunable: &Tunable) -> bool {
    matches!(&tunable.home, Home::GuestCommand(commands) if commands.get.is_empty())
}

/// The tunable with its commands; others have none. `None` when they are wrong.
pub(super) fn with_commands(table: &mut Reader<'_>, tunable: Tunable) -> Option<Tunable> {
    if !is_unwritten(&tunable) {
        for key in ["get", "set"] {
            table.refuse(key, "only `guest-exec:NAME` takes commands");
        }
        return Some(tunable);
    }
    let get = table.required(
        "get",
        "write get = [\"cat\", \"/sys/…\"]: it prints the value alone",
    );
    let set = table.required("set", "write set = [\"mytool\", \"--set\", \"{value}\"]");
    let get = get.and_then(|f| argv(&f));
    let set = set.and_then(|f| {
        let words = argv(&f)?;
        let has_value = words.iter().any(|word| word.contains(VALUE));
        if !has_value {
            f.wrong("`set` sets nothing", "put \"{value}\" where the level goes");
        }
        has_value.then_some(words)
    });
    Some(Tunable {
        home: Home::GuestCommand(GuestCommands { get: get?, set: set? }),
        ..tunable
    })
}

fn argv(field: &Field<'_>) -> Option<Vec<String>> {
    let elements = field.list(MAX_WORDS, "[\"program\", \"argument\"]")?;
    let words: Option<Vec<_>> = elements
        .iter()
        .map(|element| {
            let tame = |text: &str| text.len() <= MAX_LENGTH && !text.contains('\0');
            element
                .text_if(tame, "a word without NUL, at most 1000 bytes")
                .map(str::to_string)
        })
        .collect();
    let words = words?;
    let program = words
        .first()
        .is_some_and(|word| !word.is_empty() && !word.starts_with('-'));
    if !program {
        field.wrong("no program is named", "begin with it: [\"/usr/sbin/ethtool\", …]");
    }
    program.then_some(words)
}
