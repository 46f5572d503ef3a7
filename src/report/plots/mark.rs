//! Signs and colours: what has a meaning has a colour and a shape, so that it is seen without colours too.
//!
//! The colours are mid-tones that stand out on white and on black. Each is the `color` of a group with a class, so that a
//! page may set its own.

use super::paper::n;
use crate::analysis::{GuardOutcome, Verdict};
use maud::{Markup, html};

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Better; held.
    Good,
    /// Worse; failed.
    Bad,
    /// Not shown.
    Open,
    /// The same.
    Same,
    /// The baseline, and what recedes.
    Quiet,
    /// One of several treatments; the first is 0.
    Series(usize),
}

/// After Okabe and Ito (2008), "Color universal design", brought to mid-tones.
const SERIES: [(&str, &str, Shape); 7] = [
    ("kv-s1", "#2e86d8", Shape::Square),
    ("kv-s2", "#d0681c", Shape::Up),
    ("kv-s3", "#1b9e77", Shape::Diamond),
    ("kv-s4", "#c060a8", Shape::Down),
    ("kv-s5", "#a68a00", Shape::Cross),
    ("kv-s6", "#5b6fd6", Shape::Plus),
    ("kv-s7", "#b5524a", Shape::Ring),
];

/// Treatments that have a colour and a shape of their own; more cannot be told apart.
pub(super) const MOST: usize = SERIES.len();

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "kv-good",
            Self::Bad => "kv-bad",
            Self::Open => "kv-open",
            Self::Same => "kv-same",
            Self::Quiet => "kv-quiet",
            Self::Series(place) => SERIES[place % MOST].0,
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Good => "#189a5e",
            Self::Bad => "#d4504c",
            Self::Open => "#b27c10",
            Self::Same => "#2e86d8",
            Self::Quiet => "#80868c",
            Self::Series(place) => SERIES[place % MOST].1,
        }
    }

    /// The shape of a treatment.
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Series(place) => SERIES[place % MOST].2,
            _ => Shape::Dot,
        }
    }

    /// Draws something in this colour.
    pub(super) fn paint(self, drawn: &Markup) -> Markup {
        html! { g class=(self.class()) color=(self.colour()) fill="currentColor" { (drawn) } }
    }
}

/// A sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Dot,
    Square,
    Up,
    Down,
    Diamond,
    Cross,
    Plus,
    Ring,
}

impl Shape {
    /// The sign at a place, about `r` in each direction; `inside` are further attributes' texts and children.
    pub(super) fn at(self, (x, y): (f64, f64), r: f64, about: Option<&About<'_>>) -> Markup {
        let trial = about.and_then(|a| a.trial.as_deref());
        let title = about.map(|a| a.title);
        let hollow = matches!(self, Self::Cross | Self::Plus | Self::Ring);
        let (fill, stroke) = if hollow {
            (Some("none"), Some("currentColor"))
        } else {
            (None, None)
        };
        let thick = hollow.then_some("1.6");
        if matches!(self, Self::Dot | Self::Ring) {
            return html! {
                circle cx=(n(x)) cy=(n(y)) r=(n(r)) fill=[fill] stroke=[stroke] stroke-width=[thick] data-trial=[trial] {
                    @if let Some(title) = title { title { (title) } }
                }
            };
        }
        html! {
            path d=(self.path(x, y, r)) fill=[fill] stroke=[stroke] stroke-width=[thick] data-trial=[trial] {
                @if let Some(title) = title { title { (title) } }
            }
        }
    }

    fn path(self, x: f64, y: f64, r: f64) -> String {
        let at = |dx: f64, dy: f64| format!("{} {}", n(x + dx * r), n(y + dy * r));
        let closed = |points: &[(f64, f64)]| {
            let all: Vec<_> = points.iter().map(|p| at(p.0, p.1)).collect();
            format!("M{}Z", all.join("L"))
        };
        match self {
            Self::Square => closed(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Self::Up => closed(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
            Self::Down => closed(&[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)]),
            Self::Diamond => closed(&[(0.0, -1.25), (1.1, 0.0), (0.0, 1.25), (-1.1, 0.0)]),
            Self::Cross => format!(
                "M{}L{}M{}L{}",
                at(-0.9, -0.9),
                at(0.9, 0.9),
                at(-0.9, 0.9),
                at(0.9, -0.9)
            ),
            Self::Plus => format!(
                "M{}L{}M{}L{}",
                at(-1.1, 0.0),
                at(1.1, 0.0),
                at(0.0, -1.1),
                at(0.0, 1.1)
            ),
            Self::Dot | Self::Ring => String::new(),
        }
    }
}

/// What a sign stands for.
#[derive(Debug)]
pub(super) struct About<'a> {
    /// `BLOCK.ORDER` of the trial.
    pub(super) trial: Option<String>,
    /// Shown by whatever points at it.
    pub(super) title: &'a str,
}

/// The colour and the sign of a verdict; its word stands beside it.
pub(super) fn of_verdict(verdict: Verdict) -> (Tone, Shape) {
    match verdict {
        Verdict::Better => (Tone::Good, Shape::Up),
        Verdict::Worse => (Tone::Bad, Shape::Down),
        Verdict::Equivalent | Verdict::NoGain => (Tone::Same, Shape::Square),
        Verdict::Dropped => (Tone::Quiet, Shape::Cross),
        Verdict::Inconclusive { .. } => (Tone::Open, Shape::Ring),
        Verdict::NoResolution | Verdict::AtCap => (Tone::Open, Shape::Diamond),
    }
}

/// The colour and the sign of a guard's outcome.
pub(super) fn of_guard(outcome: GuardOutcome) -> (Tone, Shape) {
    match outcome {
        GuardOutcome::Held => (Tone::Good, Shape::Square),
        GuardOutcome::Failed => (Tone::Bad, Shape::Down),
        GuardOutcome::Unproven => (Tone::Open, Shape::Ring),
    }
}
