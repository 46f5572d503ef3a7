//! A plot as a file of its own: an SVG with its own colours, or pixels. Knows no report.

use super::Plot;
use super::paper::WIDTH;
use crate::report::ReportError;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

/// Ink and paper of a plot outside of a page: light, as it is printed.
const INK: &str = "#1c1f23";
const PAPER: &str = "#ffffff";
/// More pixels than this take too much memory: 4 bytes each.
const MOST_PIXELS: f64 = 150e6;
/// Of the fonts that are found the first of these is taken; of others any.
const PREFERRED: [&str; 4] = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial"];

/// Width of a plot that stands alone, in pixels, where none is asked for.
pub const PIXELS: u32 = 1120;

impl Plot {
    /// The plot as an SVG file so many pixels wide.
    pub fn alone(&self, width: u32) -> String {
        let height = self.height * f64::from(width) / WIDTH;
        let own = format!(
            "<svg width=\"{width}\" height=\"{height:.0}\" color=\"{INK}\" font-family=\"'DejaVu Sans', system-ui, sans-serif\" "
        );
        // Both are written by `paper::finish`, the first of all texts; nothing of a user stands before them.
        let svg = self
            .svg
            .replacen("<svg ", &own, 1)
            .replacen(" width=\"100%\"", "", 1);
        let paper = format!("</desc><rect width=\"100%\" height=\"100%\" fill=\"{PAPER}\"/>");
        svg.replacen("</desc>", &paper, 1)
    }

    /// The plot as a PNG file so many pixels wide.
    ///
    /// # Errors
    ///
    /// The machine has no fonts, or the picture would be too large.
    pub fn png(&self, width: u32, fonts: &Fonts) -> Result<Vec<u8>, ReportError> {
        let height = (self.height * f64::from(width) / WIDTH).ceil();
        if f64::from(width) * height > MOST_PIXELS {
            return Err(ReportError::TooLarge {
                plot: self.kind.word(),
                width,
                height,
            });
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ReportError::Plot {
            plot: self.kind.word(),
            source,
        };
        let options = Options {
            font_family: fonts.family.clone(),
            fontdb: Arc::clone(&fonts.database),
            ..Options::default()
        };
        let tree = Tree::from_str(&self.alone(width), &options).map_err(|e| failed(e.into()))?;
        let size = tree.size().to_int_size();
        let pixels = Pixmap::new(size.width(), size.height());
        let mut pixels = pixels.ok_or_else(|| failed("the picture has no size".into()))?;
        resvg::render(&tree, Transform::default(), &mut pixels.as_mut());
        pixels.encode_png().map_err(|e| failed(e.into()))
    }
}

/// The fonts that letters of a PNG are drawn with.
#[derive(Debug, Clone)]
pub struct Fonts {
    database: Arc<Database>,
    family: String,
}

impl Fonts {
    /// Those of this machine.
    ///
    /// # Errors
    ///
    /// It has none.
    pub fn of_system() -> Result<Self, ReportError> {
        let mut database = Database::new();
        database.load_system_fonts();
        Self::of(database)
    }

    fn of(mut database: Database) -> Result<Self, ReportError> {
        let families = || database.faces().flat_map(|f| &f.families).map(|(name, _)| name);
        let preferred = PREFERRED.iter().find(|name| families().any(|f| f == *name));
        let family = preferred
            .map(ToString::to_string)
            .or_else(|| families().next().cloned());
        let family = family.ok_or(ReportError::NoFont)?;
        database.set_sans_serif_family(&family);
        Ok(Self {
            database: Arc::new(database),
            family,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_fonts_is_told_what_to_install() {
        let error = Fonts::of(Database::new()).unwrap_err();
        assert!(error.to_string().contains("fonts-dejavu-core"), "{error}");
    }
}
