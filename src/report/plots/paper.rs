//! What plots are written on: the frame of an SVG, texts, lines. Knows no report and no kind of plot.
//!
//! A plot is drawn 560 units wide and shown as wide as there is room, so on a phone its letters would be small: there
//! they are set larger, and every layout leaves the room for that.

use super::{Plot, PlotKind};
use crate::report::wording;
use maud::{Markup, PreEscaped, html};

/// Of every plot, in units of the picture.
pub(super) const WIDTH: f64 = 560.0;
/// Between the edge and what is drawn.
pub(super) const EDGE: f64 = 10.0;
/// From one line of text to the next.
pub(super) const LINE: f64 = 20.0;
/// Characters of a line that fit in the width on a phone.
pub(super) const COLUMNS: usize = 50;
/// Longest name in the title of a point.
pub(super) const NAME: usize = 100;
/// Longest description.
const DESCRIPTION: usize = 4000;

/// Letters on a narrow screen; prefixed, as the plot stands in a page with others.
const STYLE: &str =
    "@media (max-width:36em){.kv-plot text{font-size:17px}.kv-plot .kv-small{font-size:15px}}";

/// Where a text stands by its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

impl Side {
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Start => None,
            Self::Middle => Some("middle"),
            Self::End => Some("end"),
        }
    }
}

/// A length with a tenth of a unit; nothing of what is not finite reaches the picture.
pub(super) fn n(value: f64) -> String {
    if !value.is_finite() {
        return "0".into();
    }
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.into(),
        None => text,
    }
}

/// A count made of lengths; 0 of what is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
pub(super) fn whole(value: f64) -> usize {
    value.clamp(0.0, 1e9) as usize
}

/// A text as large as the body's.
pub(super) fn text(x: f64, y: f64, side: Side, content: &str) -> Markup {
    html! { text x=(n(x)) y=(n(y)) text-anchor=[side.word()] { (content) } }
}

/// A smaller and fainter one: ticks, notes.
pub(super) fn small(x: f64, y: f64, side: Side, content: &str) -> Markup {
    html! {
        text .kv-small x=(n(x)) y=(n(y)) text-anchor=[side.word()] font-size="12" fill-opacity=".75" { (content) }
    }
}

/// A heading.
pub(super) fn strong(x: f64, y: f64, content: &str) -> Markup {
    html! { text x=(n(x)) y=(n(y)) font-weight="600" { (content) } }
}

/// A line in the colour of the text, as strong as asked, from 0 to 1.
pub(super) fn line(from: (f64, f64), to: (f64, f64), opacity: f64) -> Markup {
    html! {
        line x1=(n(from.0)) y1=(n(from.1)) x2=(n(to.0)) y2=(n(to.1)) stroke="currentColor" stroke-opacity=(opacity) {}
    }
}

/// Small lines below each other from `top`; where the next thing may begin.
pub(super) fn notes(top: f64, lines: &[String]) -> (Markup, f64) {
    let wrapped: Vec<_> = lines.iter().flat_map(|l| wrap(l, COLUMNS + 8, 6)).collect();
    let bottom = top + LINE * wrapped.len() as f64;
    let drawn = html! {
        @for (place, line) in wrapped.iter().enumerate() {
            (small(EDGE, top + LINE * place as f64 + 14.0, Side::Start, line))
        }
    };
    (drawn, bottom)
}

/// A heading of as many lines as it takes, from `top`; where the next thing may begin.
pub(super) fn heading(top: f64, content: &str) -> (Markup, f64) {
    let lines = wrap(content, COLUMNS - 2, 3);
    let drawn = html! {
        @for (place, line) in lines.iter().enumerate() {
            (strong(EDGE, top + LINE * place as f64 + 15.0, line))
        }
    };
    (drawn, top + LINE * lines.len() as f64 + 2.0)
}

/// `text` in lines of at most `columns` characters, broken at blanks where there are some; what does not fit into `most`
/// lines is left out, with an ellipsis.
pub(super) fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for (place, piece) in letters.chunks(columns).enumerate() {
            let fits = length > 0 && place == 0 && length + 1 + piece.len() <= columns;
            if let Some(open) = lines.last_mut().filter(|_| length == 0 || fits) {
                open.extend(fits.then_some(' ').into_iter().chain(piece.iter().copied()));
                length += usize::from(fits) + piece.len();
            } else {
                lines.push(piece.iter().collect());
                length = piece.len();
            }
        }
        if lines.len() > most {
            break;
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = short(&format!("{last} …"), columns);
            if !last.ends_with('…') {
                last.push('…');
            }
        }
    }
    lines
}

/// The beginning of a text that has more than `columns` characters, with an ellipsis.
pub(super) fn short(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.into();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The whole picture, with a name and a description for those who do not see it.
pub(super) fn finish(kind: PlotKind, title: &str, description: &str, height: f64, body: &Markup) -> Plot {
    let title = wording::tame(title, wording::NAME);
    let description = wording::tame(description, DESCRIPTION);
    let height = height.ceil();
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" class={ "kv-plot kv-" (kind.word()) } viewBox={ "0 0 " (n(WIDTH)) " " (n(height)) }
            width="100%" role="img" aria-label=(title) font-size="13" fill="currentColor" stroke-linecap="round"
            stroke-linejoin="round" {
            title { (title) }
            desc { (description) }
            style { (PreEscaped(STYLE)) }
            (body)
        }
    };
    Plot {
        kind,
        title,
        description,
        svg: svg.into_string(),
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wrapped_and_cut() {
        assert_eq!(wrap("a b", 10, 2), ["a b"]);
        assert_eq!(wrap("aaaa bbbb cccc", 9, 3), ["aaaa bbbb", "cccc"]);
        assert_eq!(wrap("aaaaaaaaaaaa", 5, 3), ["aaaaa", "aaaaa", "aa"]);
        let cut = wrap(&"x".repeat(5000), 20, 2);
        assert_eq!(cut.len(), 2);
        assert!(cut.iter().all(|l| l.chars().count() <= 20) && cut[1].ends_with('…'));
        assert_eq!(wrap("", 5, 2), [""]);
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn lengths_are_short_and_finite() {
        for (value, text) in [
            (1.0, "1"),
            (-0.01, "0"),
            (2.34, "2.3"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
        ] {
            assert_eq!(n(value), text);
        }
    }
}
