//! The `allow` key, and levels that are refused without it.

use crate::decode::{Mistakes, Reader};
use crate::diagnostic::{Diagnostic, one_line};
use crate::experiment::{Factor, Guest};
use crate::tunable::{Hazard, hazard};

/// The dangers the file takes on.
pub(super) fn allow(file: &mut Reader<'_>) -> Vec<Hazard> {
    let Some(field) = file.take("allow") else {
        return Vec::new();
    };
    let words = Hazard::ALL.map(|hazard| (hazard.word(), hazard));
    let listed = field
        .list(Hazard::ALL.len(), "[\"data-loss\"]")
        .unwrap_or_default();
    listed.iter().filter_map(|element| element.word(&words)).collect()
}

/// Every level whose danger is not allowed is a mistake.
pub(super) fn refuse(factors: &[Factor], guest: &Guest, allow: &[Hazard], mistakes: &Mistakes) {
    for factor in factors {
        for text in factor.texts() {
            let Ok(value) = factor.tunable.kind.parse(&text.text) else {
                continue;
            };
            let found = hazard(&factor.tunable, &value, guest.has_private_network());
            if let Some(danger) = found.filter(|danger| !allow.contains(danger)) {
                let level = one_line(&text.text, 60);
                let message = format!(
                    "`{}` = `{level}` can {}",
                    factor.tunable.name,
                    danger.consequence()
                );
                let hint = format!(
                    "add allow = [\"{}\"] at the top of the file if you want that",
                    danger.word()
                );
                mistakes.add(Diagnostic::at(text.span.clone(), message).hint(hint));
            }
        }
    }
}
