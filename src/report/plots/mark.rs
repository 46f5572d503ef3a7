//! Signs and colours: what has a meaning has a colour and a shape, so that it is seen without colours too.
//!
//! The colours are mid-tones that stand out on white and on black. Each is the `color` of a group with a class, so that a
//! page may set its own.

use super::backend::{About, Drawn, Paper, fine};
use crate::analysis::{GuardOutcome, Verdict};
use maud::{Markup, html};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::{Drawable, DynElement, IntoDynElement, PointCollection};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, RGBAColor, RGBColor, ShapeStyle, TextStyle};
use plotters_backend::{BackendColor, BackendCoord, DrawingBackend, DrawingErrorKind};
use std::convert::Infallible;

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
    /// The number that stands for it where plotters has a colour; 0 is the ink of the page.
    fn number(self) -> u8 {
        match self {
            Self::Good => 1,
            Self::Bad => 2,
            Self::Open => 3,
            Self::Same => 4,
            Self::Quiet => 5,
            Self::Series(place) => 6 + u8::try_from(place % MOST).unwrap_or_default(),
        }
    }

    /// The tone of a number; `None` of the ink of the page.
    pub(super) fn numbered(number: u8) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::Good,
            2 => Self::Bad,
            3 => Self::Open,
            4 => Self::Same,
            5 => Self::Quiet,
            series => Self::Series(usize::from(series - 6)),
        })
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "kv-good",
            Self::Bad => "kv-bad",
            Self::Open => "kv-open",
            Self::Same => "kv-same",
            Self::Quiet => "kv-quiet",
            Self::Series(place) => SERIES[place % MOST].0,
        }
    }

    pub(super) fn colour(self) -> &'static str {
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

impl Color for Tone {
    fn to_backend_color(&self) -> BackendColor {
        BackendColor {
            alpha: 1.0,
            rgb: (self.number(), 0, 0),
        }
    }
}

/// The colour of the text around the plot.
pub(super) const INK: RGBColor = BLACK;

/// A stroke of this opacity, from 0 to 1, and so many units wide.
pub(super) fn pen(colour: &impl Color, opacity: f64, width: f64) -> ShapeStyle {
    colour.mix(opacity).stroke_width(fine(width).unsigned_abs())
}

/// A filling of this opacity, from 0 to 1.
pub(super) fn wash(colour: &impl Color, opacity: f64) -> ShapeStyle {
    colour.mix(opacity).filled()
}

/// Letters so many units high, centred on their place; small ones are fainter.
pub(super) fn letters(size: f64) -> TextStyle<'static> {
    let font = ("sans-serif", fine(size)).into_font();
    let mut letters = TextStyle::from(font).pos(Pos::new(HPos::Center, VPos::Center));
    letters.color = INK.mix(if size > SMALL { 1.0 } else { 0.75 }).to_backend_color();
    letters
}

/// Letters of ticks and notes, in units.
pub(super) const SMALL: f64 = 12.0;

/// A sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Dot,
    Square,
    Up,
    Down,
    Left,
    Right,
    Diamond,
    Cross,
    Plus,
    Ring,
}

impl Shape {
    /// Its corners around a place of a sign that reaches about 1 in each direction; none of what is round.
    fn corners(self) -> &'static [(f64, f64)] {
        match self {
            Self::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Self::Up => &[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
            Self::Down => &[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
            Self::Left => &[(-1.15, 0.0), (0.15, -1.0), (0.15, 1.0)],
            Self::Right => &[(1.15, 0.0), (-0.15, -1.0), (-0.15, 1.0)],
            Self::Diamond => &[(0.0, -1.25), (1.1, 0.0), (0.0, 1.25), (-1.1, 0.0)],
            // Two strokes in one line, by way of where they meet.
            Self::Cross => &[(-0.9, -0.9), (0.9, 0.9), (0.0, 0.0), (-0.9, 0.9), (0.9, -0.9)],
            Self::Plus => &[(-1.1, 0.0), (1.1, 0.0), (0.0, 0.0), (0.0, -1.1), (0.0, 1.1)],
            Self::Dot | Self::Ring => &[],
        }
    }
}

/// Values along both axes of a chart.
pub(super) type Place = (f64, f64);

/// A sign at a place, about `r` units in each direction.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) at: Place,
    pub(super) shape: Shape,
    pub(super) r: f64,
    pub(super) colour: RGBAColor,
}

impl Mark {
    /// Of a tone, or of the ink.
    pub(super) fn new(at: Place, shape: Shape, r: f64, colour: &impl Color) -> Self {
        Self {
            at,
            shape,
            r,
            colour: colour.to_rgba(),
        }
    }

    /// Outside of a chart, where its place is one of the picture.
    pub(super) fn alone(&self) -> Drawn {
        let mut paper = Paper::default();
        let at = (fine(self.at.0), fine(self.at.1));
        let drawn = self.draw(std::iter::once(at), &mut paper, (0, 0));
        drawn.map_err(DrawingAreaErrorKind::BackendError)?;
        Ok(paper.finish())
    }

    /// With what it stands for.
    pub(super) fn told(self, trial: Option<String>, title: String) -> Told {
        Told::of(self, trial, title)
    }
}

impl<'a> PointCollection<'a, Place> for &'a Mark {
    type Point = &'a Place;
    type IntoIter = std::iter::Once<&'a Place>;

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.at)
    }
}

impl<B: DrawingBackend> Drawable<B> for Mark {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        mut places: I,
        backend: &mut B,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<B::ErrorType>> {
        let Some((x, y)) = places.next() else {
            return Ok(());
        };
        let corners = self.shape.corners().iter();
        let corners = corners.map(|(dx, dy)| (x + fine(dx * self.r), y + fine(dy * self.r)));
        let line = pen(&self.colour, 1.0, 1.6);
        match self.shape {
            Shape::Dot => {
                backend.draw_circle((x, y), fine(self.r).unsigned_abs(), &self.colour.filled(), true)
            }
            Shape::Ring => backend.draw_circle((x, y), fine(self.r).unsigned_abs(), &line, false),
            Shape::Cross | Shape::Plus => backend.draw_path(corners, &line),
            _ => backend.fill_polygon(corners, &self.colour.filled()),
        }
    }
}

/// Dots that none can point at: one path, however many they are.
#[derive(Debug)]
pub(super) struct Dots {
    pub(super) places: Vec<Place>,
    pub(super) style: ShapeStyle,
}

impl<'a> PointCollection<'a, Place> for &'a Dots {
    type Point = &'a Place;
    type IntoIter = &'a [Place];

    fn point_iter(self) -> Self::IntoIter {
        &self.places
    }
}

impl Drawable<Paper> for Dots {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        places: I,
        paper: &mut Paper,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        paper.dots(places, &self.style);
        Ok(())
    }
}

/// An element of plotters or of ours, with what it stands for.
pub(super) struct Told {
    element: DynElement<'static, Paper, Place>,
    about: About,
}

impl Told {
    pub(super) fn of(
        element: impl IntoDynElement<'static, Paper, Place>,
        trial: Option<String>,
        title: String,
    ) -> Self {
        let about = About {
            trial,
            title: Some(title),
            is_dashed: false,
        };
        let element = element.into_dyn();
        Self { element, about }
    }

    /// Its strokes are dashes.
    pub(super) fn dashed(element: impl IntoDynElement<'static, Paper, Place>) -> Self {
        let about = About {
            is_dashed: true,
            ..About::default()
        };
        let element = element.into_dyn();
        Self { element, about }
    }
}

impl<'a> PointCollection<'a, Place> for &'a Told {
    type Point = &'a Place;
    type IntoIter = &'a Vec<Place>;

    fn point_iter(self) -> Self::IntoIter {
        self.element.point_iter()
    }
}

impl Drawable<Paper> for Told {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        places: I,
        paper: &mut Paper,
        size: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        paper.tell(self.about.clone());
        self.element.draw(places, paper, size)
    }
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
