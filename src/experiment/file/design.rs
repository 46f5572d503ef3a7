//! The `[design]` table.

use crate::decode::{Field, Reader};
use crate::experiment::{CONFIRMING, Design, DesignKind, Stopping};
use crate::units::Percent;

/// Lab experiments are rarely longer; a thousand blocks are a slip.
const BLOCKS: std::ops::RangeInclusive<i64> = 2..=200;
const DEFAULT_LOOKS: (u32, u32) = (8, 20);
const DEFAULT_SMALLEST_EFFECT: Percent = Percent(1.0);
const CONFIRM: std::ops::RangeInclusive<i64> = CONFIRMING as i64..=200;

const KINDS: [(&str, DesignKind); 5] = [
    ("full-factorial", DesignKind::FullFactorial),
    ("one-at-a-time", DesignKind::OneAtATime),
    ("one-factor", DesignKind::OneFactor),
    ("explicit", DesignKind::Explicit),
    ("a-b", DesignKind::AB),
];

/// The design; `None` when something in it is wrong.
pub(super) fn design(file: &mut Reader<'_>) -> Option<Design> {
    let default = Design {
        kind: DesignKind::FullFactorial,
        stopping: Stopping::Looks {
            min: DEFAULT_LOOKS.0,
            max: DEFAULT_LOOKS.1,
        },
        blocks: DEFAULT_LOOKS.1,
        smallest_effect: DEFAULT_SMALLEST_EFFECT,
        confirm: Some(CONFIRMING),
    };
    let Some(field) = file.take("design") else {
        return Some(default);
    };
    let mut table = field.table()?;
    let kind = table.take("kind").map_or(Some(default.kind), |f| f.word(&KINDS));
    let blocks = table
        .take("blocks")
        .map_or(Some((default.stopping, default.blocks)), |f| blocks(&f));
    let stopping_field = table.take("stopping");
    let stopping = match (&stopping_field, blocks) {
        (Some(field), Some((written, most))) => stopping(field, written, most),
        (None, Some((written, _))) => Some(written),
        (_, None) => None,
    };
    let smallest_effect = table
        .take("smallest-effect")
        .map_or(Some(default.smallest_effect), |f| smallest_effect(&f));
    let mut confirmation = default.confirm;
    if let Some(field) = table.take("confirm") {
        confirmation = confirm(&field);
    }
    table.finish();
    Some(Design {
        kind: kind?,
        stopping: stopping?,
        blocks: blocks?.1,
        smallest_effect: smallest_effect?,
        confirm: confirmation,
    })
}

/// `8` blocks, judged once, or `{ min = 8, max = 20 }`, judged at looks; with the greatest number.
fn blocks(field: &Field<'_>) -> Option<(Stopping, u32)> {
    let number = |f: Field<'_>| f.integer(BLOCKS).and_then(|n| u32::try_from(n).ok());
    if !field.is_table() {
        let blocks = field.integer(BLOCKS).and_then(|n| u32::try_from(n).ok())?;
        return Some((Stopping::Fixed, blocks));
    }
    let mut table = field.table()?;
    let hint = "write blocks = { min = 8, max = 20 }, or a number";
    let min = table.required("min", hint).and_then(number);
    let max = table.required("max", hint).and_then(number);
    table.finish();
    let (min, max) = (min?, max?);
    if min > max {
        field.wrong(
            format!("`min` is {min}, more than `max`"),
            "the first look comes before the last",
        );
        return None;
    }
    Some((Stopping::Looks { min, max }, max))
}

fn stopping(field: &Field<'_>, written: Stopping, most: u32) -> Option<Stopping> {
    let looks = match written {
        Stopping::Looks { .. } => written,
        Stopping::Fixed | Stopping::Anytime => Stopping::Looks {
            min: DEFAULT_LOOKS.0.min(most),
            max: most,
        },
    };
    let words = [
        ("fixed", Stopping::Fixed),
        ("looks", looks),
        ("anytime", Stopping::Anytime),
    ];
    field.word(&words)
}

fn smallest_effect(field: &Field<'_>) -> Option<Percent> {
    let share: Percent = field.parse("1%")?;
    if share.0 > 0.0 {
        return Some(share);
    }
    field.wrong(
        "`smallest-effect` is 0%",
        "no two treatments are equal to the last digit; use e.g. \"1%\"",
    );
    None
}

/// A number of blocks, or `false`; also `None` for a mistake, which is reported.
fn confirm(field: &Field<'_>) -> Option<u32> {
    if let Some(wanted) = field.as_bool() {
        return wanted.then_some(CONFIRMING);
    }
    u32::try_from(field.integer(CONFIRM)?).ok()
}
