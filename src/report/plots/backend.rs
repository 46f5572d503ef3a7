//! What plotters draws on: SVG elements in the colours of the page around them. Knows no report and no kind of plot.
//!
//! Its coordinates are tenths of a unit of the picture. A colour is a number of [`Tone`]'s, and 0, plotters' black, is the
//! ink of the page.

use super::mark::{SMALL, Tone};
use super::paper::{LINE, WIDTH, n};
use maud::{Markup, PreEscaped, html};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};
use std::convert::Infallible;

/// Something drawn; the paper itself never fails.
pub(super) type Drawn<T = Markup> = Result<T, DrawingAreaErrorKind<Infallible>>;
type Written = Result<(), DrawingErrorKind<Infallible>>;

/// A length as plotters has it.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
pub(super) fn fine(length: f64) -> i32 {
    (10.0 * length).round().clamp(-1e8, 1e8) as i32
}

/// A length as a picture has it.
fn coarse(length: i32) -> String {
    n(f64::from(length) / 10.0)
}

/// What an element stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    /// `BLOCK.ORDER` of the trial.
    pub(super) trial: Option<String>,
    /// Shown by whatever points at it.
    pub(super) title: Option<String>,
    /// Its strokes are dashes.
    pub(super) is_dashed: bool,
}

/// SVG elements; those of one colour that follow each other share a group.
#[derive(Debug, Default)]
pub(super) struct Paper {
    svg: String,
    /// What a group's tag says of its colour; empty of the ink of the page.
    group: String,
    about: About,
    /// Lowest place, in units of the picture.
    bottom: f64,
}

impl Paper {
    /// With room for an axis' labels below `bottom`.
    pub(super) fn down_to(bottom: f64) -> Self {
        Self {
            bottom: bottom + LINE,
            ..Self::default()
        }
    }

    /// Says of the next element what it stands for.
    pub(super) fn tell(&mut self, about: About) {
        self.about = about;
    }

    /// Points of one path, which none can point at.
    pub(super) fn dots(&mut self, places: impl Iterator<Item = BackendCoord>, style: &impl BackendStyle) {
        let dots: Vec<_> = places
            .map(|(x, y)| format!("M{} {}h0", coarse(x), coarse(y)))
            .collect();
        if !dots.is_empty() {
            self.path(&dots.concat(), style, false);
        }
    }

    pub(super) fn finish(mut self) -> Markup {
        self.enter(String::new());
        PreEscaped(self.svg)
    }

    /// Closes the open group and opens another, unless they are the same.
    fn enter(&mut self, group: String) {
        if self.group == group {
            return;
        }
        if !self.group.is_empty() {
            self.svg.push_str("</g>");
        }
        self.svg.push_str(&group);
        self.group = group;
    }

    fn put(&mut self, colour: BackendColor, element: impl FnOnce(&About) -> Markup) {
        let about = std::mem::take(&mut self.about);
        if colour.alpha > 0.0 {
            self.enter(group(colour));
            self.svg.push_str(&element(&about).into_string());
        }
    }

    fn path(&mut self, path: &str, style: &impl BackendStyle, fill: bool) {
        let Look { none, ink, width } = Look::of(style, fill);
        self.put(style.color(), |about| {
            html! {
                path d=(path) fill=[none] stroke=[ink] stroke-width=[width] stroke-dasharray=[dashes(about)]
                    data-trial=[&about.trial] { (title(about)) }
            }
        });
    }
}

/// What an element says of its style; what is filled has nothing to say.
#[derive(Default)]
struct Look {
    none: Option<&'static str>,
    ink: Option<&'static str>,
    /// A unit need not be said.
    width: Option<String>,
}

impl Look {
    fn of(style: &impl BackendStyle, fill: bool) -> Self {
        if fill {
            return Self::default();
        }
        let width = style.stroke_width();
        Self {
            none: Some("none"),
            ink: Some("currentColor"),
            width: (width != 10).then(|| n(f64::from(width) / 10.0)),
        }
    }
}

fn title(about: &About) -> Markup {
    html! { @if let Some(title) = &about.title { title { (title) } } }
}

fn dashes(about: &About) -> Option<&'static str> {
    about.is_dashed.then_some("3.5 4")
}

/// The tag of a group of this colour.
fn group(colour: BackendColor) -> String {
    let opacity = (colour.alpha < 1.0).then(|| format!("{:.2}", colour.alpha));
    let tone = Tone::numbered(colour.rgb.0);
    if opacity.is_none() && tone.is_none() {
        return String::new();
    }
    let tag = html! {
        g class=[tone.map(Tone::class)] color=[tone.map(Tone::colour)] fill=[tone.map(|_| "currentColor")] fill-opacity=[&opacity]
            stroke-opacity=[&opacity] {}
    };
    tag.into_string().replace("</g>", "")
}

fn joined(path: impl IntoIterator<Item = BackendCoord>) -> Option<String> {
    let places: Vec<_> = path
        .into_iter()
        .map(|(x, y)| format!("{} {}", coarse(x), coarse(y)))
        .collect();
    // A line of one point has no length, and is seen as a dot.
    let end = if places.len() == 1 { "h0.1" } else { "" };
    (!places.is_empty()).then(|| format!("M{}{end}", places.join("L")))
}

impl DrawingBackend for Paper {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (fine(WIDTH).unsigned_abs(), fine(self.bottom).unsigned_abs())
    }

    fn ensure_prepared(&mut self) -> Written {
        Ok(())
    }

    fn present(&mut self) -> Written {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Written {
        self.draw_rect((x, y), (x + 1, y + 1), &colour, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Written {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Written {
        let (across, down) = (coarse(right - left), coarse(bottom - top));
        let Look { none, ink, width } = Look::of(style, fill);
        self.put(style.color(), |about| {
            html! {
                rect x=(coarse(left)) y=(coarse(top)) width=(across) height=(down) fill=[none] stroke=[ink]
                    stroke-width=[width] stroke-dasharray=[dashes(about)] data-trial=[&about.trial] { (title(about)) }
            }
        });
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Written {
        if let Some(path) = joined(path) {
            self.path(&path, style, false);
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Written {
        let Look { none, ink, width } = Look::of(style, fill);
        let radius = n(f64::from(radius) / 10.0);
        self.put(style.color(), |about| {
            html! {
                circle cx=(coarse(x)) cy=(coarse(y)) r=(radius) fill=[none] stroke=[ink] stroke-width=[width]
                    stroke-dasharray=[dashes(about)] data-trial=[&about.trial] { (title(about)) }
            }
        });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Written {
        if let Some(path) = joined(corners) {
            self.path(&format!("{path}Z"), style, true);
        }
        Ok(())
    }

    /// None is a target of what points at the element below it, and none
    /// that is centred leaves the paper.
    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Written {
        if text.is_empty() {
            return Ok(());
        }
        let small = style.size() <= 10.0 * SMALL;
        // As large as on a phone; letters of a sans-serif are a little more than half as wide as they are high.
        let half = text.chars().count() as f64 * if small { 4.0 } else { 4.5 };
        let x = f64::from(x) / 10.0;
        let (x, anchor) = match style.anchor().h_pos {
            HPos::Left => (x, None),
            HPos::Right => (x, Some("end")),
            HPos::Center => (x.min(WIDTH - half).max(half), Some("middle")),
        };
        let base = match style.anchor().v_pos {
            VPos::Top => 16.0,
            VPos::Center => 4.0,
            VPos::Bottom => 0.0,
        };
        let y = f64::from(y) / 10.0 + base;
        self.put(style.color(), |_| {
            html! {
                text class=[small.then_some("kv-small")] x=(n(x)) y=(n(y)) text-anchor=[anchor] font-size=[small.then_some("12")]
                    pointer-events="none" { (text) }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::mark::{INK, Mark, Shape, Told, pen, wash};
    use super::*;
    use plotters::element::{Drawable, PointCollection, Rectangle};

    /// Elements at places of the picture.
    fn drawn(elements: &[Told]) -> String {
        let mut paper = Paper::default();
        for element in elements {
            let places = element.point_iter().iter().map(|(x, y)| (fine(*x), fine(*y)));
            element.draw(places, &mut paper, (0, 0)).unwrap();
        }
        paper.finish().into_string()
    }

    #[test]
    fn an_element_tells_what_it_stands_for_and_the_next_does_not() {
        let dot = || Mark::new((1.0, 2.34), Shape::Dot, 2.8, &INK);
        let told = dot().told(Some("1.7".into()), "block 1 & 2".into());
        assert_eq!(
            drawn(&[told, Told::dashed(dot())]),
            "<circle cx=\"1\" cy=\"2.3\" r=\"2.8\" data-trial=\"1.7\"><title>block 1 &amp; 2</title></circle>\
             <circle cx=\"1\" cy=\"2.3\" r=\"2.8\" stroke-dasharray=\"3.5 4\"></circle>"
        );
    }

    #[test]
    fn elements_of_one_colour_share_a_group_and_what_has_none_is_left_out() {
        let area = |style| Told::of(Rectangle::new([(0.0, 0.0), (4.0, 2.0)], style), None, "x".into());
        let text = drawn(&[
            area(wash(&Tone::Series(1), 0.5)),
            area(pen(&Tone::Series(1), 0.5, 2.0)),
            area(wash(&Tone::Good, 0.0)),
            area(wash(&INK, 1.0)),
        ]);
        let document = format!("<svg>{text}</svg>");
        let document = roxmltree::Document::parse(&document).unwrap();
        let all: Vec<_> = document.root_element().children().collect();
        assert_eq!(all.len(), 2, "{text}");
        assert_eq!(all[0].children().count(), 2, "{text}");
        assert_eq!(all[0].attribute("class"), Some("kv-s2"));
        assert_eq!(all[0].attribute("fill-opacity"), Some("0.50"));
        let stroke = all[0].last_element_child().unwrap();
        assert_eq!(stroke.attribute("stroke-width"), Some("2"));
        assert_eq!(all[1].tag_name().name(), "rect");
    }
}
