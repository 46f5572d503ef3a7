//! The `allow` key, and levels that are refused without it.

use crate::decode::{Mistakes, Reader};
use crate::diagnostic::{Diagnostic, one_line};
use crate::experiment::{Factor, Guest, Levels};
use crate::tunable::{Hazard, hazard};
use std::ops::Range;

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

/// Every level whose danger is not allowed is a mistake; so are levels that are left to the host, when each is dangerous.
pub(super) fn refuse(factors: &[Factor], guest: &Guest, allow: &[Hazard], mistakes: &Mistakes) {
    let private = guest.has_private_network();
    for factor in factors {
        let tunable = &factor.tunable;
        let refuse = |text: &str, value: &str, span: &Range<usize>| {
            let Some(danger) = hazard(tunable, value, private).filter(|danger| !allow.contains(danger))
            else {
                return;
            };
            let message = format!(
                "`{}` = `{}` can {}",
                tunable.name,
                one_line(text, 60),
                danger.consequence()
            );
            let hint = format!(
                "add allow = [\"{}\"] at the top of the file if you want that",
                danger.word()
            );
            mistakes.add(Diagnostic::at(span.clone(), message).hint(hint));
        };
        for text in factor.texts() {
            let value = tunable.kind.parse(&text.text).map(|value| value.to_string());
            refuse(&text.text, value.as_deref().unwrap_or_default(), &text.span);
        }
        match &factor.levels {
            Levels::Listed(_) => {}
            Levels::Available(span) => refuse("available", "", span),
            Levels::Suggested(span) => refuse("suggested", "", span),
        }
    }
}
