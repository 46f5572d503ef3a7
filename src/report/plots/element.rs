//! Elements that plotters draws and does not have: signs, very many dots, and whatever tells what it stands for. Knows no
//! report.

use super::backend::{About, Drawn, Paper, fine};
use super::mark::{Shape, pen};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::{Drawable, DynElement, IntoDynElement, PointCollection};
use plotters::style::{Color, RGBAColor, ShapeStyle};
use plotters_backend::{BackendCoord, DrawingBackend, DrawingErrorKind};
use std::convert::Infallible;

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
