//! Tables that can be sorted, filtered and copied. Knows what the script looks for in them, not what they hold.

use super::super::wording;
use maud::{Markup, html};

/// A table in a frame that scrolls when it is too wide; the script puts its tools above it.
pub(super) struct Table<'a> {
    /// Names it among the page's places.
    pub(super) id: &'a str,
    /// What it holds, in a few words.
    pub(super) caption: &'a str,
    /// Whether there is so much in it that it has a field to filter by.
    pub(super) filtered: bool,
}

impl Table<'_> {
    /// With this head and these bodies.
    pub(super) fn around(&self, content: &Markup) -> Markup {
        html! {
            div .wide tabindex="0" role="region" aria-label=(self.caption) {
                table id=(self.id) data-tools=(if self.filtered { "filter" } else { "copy" }) {
                    caption { (self.caption) }
                    (content)
                }
            }
        }
    }
}

/// A name as code that is broken after its dots and signs, where there is little room.
pub(super) fn code(name: &str) -> Markup {
    html! { code { @for piece in name.split_inclusive(['.', '=']) { (piece) wbr; } } }
}

/// A cell of a number: sorted and copied by its whole value, whatever is shown of it.
pub(super) fn number(shown: &str, value: f64) -> Markup {
    html! { td .number data-value=(value) { (shown) } }
}

/// A cell of a number that need not be there.
pub(super) fn maybe(shown: Option<String>, value: Option<f64>) -> Markup {
    let both = shown.zip(value);
    both.map_or_else(
        || html! { td .number data-value="" { "–" } },
        |(shown, value)| number(&shown, value),
    )
}

/// A text that can be copied as a whole.
pub(super) fn copied(id: &str, title: &str, text: &str) -> Markup {
    html! { pre id=(id) tabindex="0" data-copy=(title) { (text) } }
}

/// A number of a column whose unit stands in its head, unless it needs a prefix.
pub(super) fn in_column(value: f64, unit: &str) -> String {
    match unit {
        "bit/s" | "B/s" => wording::quantity(value, unit),
        _ => wording::number(value),
    }
}

/// `iops, 1/s`: what heads a column.
pub(super) fn titled(name: &str, unit: &str) -> String {
    let name = wording::tame(name, wording::NAME);
    if unit.is_empty() {
        name
    } else {
        format!("{name}, {}", wording::tame(unit, 20))
    }
}
