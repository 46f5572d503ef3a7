//! `kvmtune plot`: the plots of a run as files of their own, SVG or PNG.

use super::exit::Code;
use super::failure::Failure;
use super::results::Judged;
use super::{Common, print, print_json, say};
use crate::report::{self, Fonts, PIXELS, Plot, PlotKind, Report, ReportError};
use crate::store::Store;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `plot`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["kind", "all"])))]
pub(super) struct PlotArgs {
    /// `latest`, an id or a piece of one, or the name of an experiment
    #[arg(default_value = "latest")]
    run: String,
    /// Which plot
    #[arg(long, value_name = "KIND", requires = "output")]
    kind: Option<Kind>,
    /// Write it to this file, whose name ends in .svg or .png; `-` is SVG on stdout
    #[arg(long, short, value_name = "FILE", requires = "kind")]
    output: Option<PathBuf>,
    /// Write every plot the run has to this folder, as SVG and PNG
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kind", "output"])]
    all: Option<PathBuf>,
    /// Width in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = PIXELS, value_parser = clap::value_parser!(u32).range(200..=8000))]
    width: u32,
}

/// A kind of plot, by its word.
#[derive(Debug, Clone, Copy)]
struct Kind(PlotKind);

impl clap::ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Kind; PlotKind::ALL.len()] = {
            let mut all = [Kind(PlotKind::Effects); PlotKind::ALL.len()];
            let mut place = 0;
            while place < all.len() {
                all[place] = Kind(PlotKind::ALL[place]);
                place += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.word()).help(self.0.about()))
    }
}

/// How a file is written, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

impl Format {
    fn of(file: &Path) -> Result<Self, Failure> {
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "svg" => Ok(Self::Svg),
            "png" => Ok(Self::Png),
            _ => Err(Failure::usage(format!(
                "{} is neither SVG nor PNG by the end of its name; call it x.svg or x.png",
                file.display()
            ))),
        }
    }
}

pub(super) fn plot(common: &Common, args: &PlotArgs) -> Result<Code, Failure> {
    if let (Some(Kind(kind)), Some(file)) = (args.kind, &args.output) {
        let is_stdout = file.as_os_str() == "-";
        let format = if is_stdout { Format::Svg } else { Format::of(file)? };
        let judged = judged(common, &args.run, &[kind])?;
        let report = judged.report();
        let Some(plot) = draw(&report, kind)? else {
            let why = report::why_not(&report, kind).unwrap_or_default();
            return Err(Failure::NothingToDraw(format!(
                "run {} has no plot of {}: {why}",
                report.header.run.short(),
                kind.word()
            )));
        };
        if is_stdout {
            print(&plot.alone(args.width));
        } else {
            Writer::new(args.width).write(&plot, format, file)?;
            said(common, &[(plot, file.clone())], &[])?;
        }
        return Ok(Code::Done);
    }
    let folder = args.all.as_deref().unwrap_or_else(|| Path::new("."));
    all(common, args, folder)
}

/// Every plot there is, as both kinds of file.
fn all(common: &Common, args: &PlotArgs, folder: &Path) -> Result<Code, Failure> {
    let judged = judged(common, &args.run, &PlotKind::ALL)?;
    let report = judged.report();
    fs::create_dir_all(folder)
        .map_err(|e| Failure::environment(format!("cannot make the folder {}: {e}", folder.display())))?;
    let writer = Writer::new(args.width);
    let (mut plots, mut missing) = (Vec::new(), Vec::new());
    for kind in PlotKind::ALL {
        match draw(&report, kind)? {
            Some(plot) => plots.push(plot),
            None => missing.push((kind, report::why_not(&report, kind).unwrap_or_default())),
        }
    }
    let mut written = Vec::new();
    // A machine without fonts has all SVGs before it is told of that.
    for (format, ending) in [(Format::Svg, "svg"), (Format::Png, "png")] {
        for plot in &plots {
            let file = folder.join(format!("{}.{ending}", plot.kind.word()));
            writer.write(plot, format, &file)?;
            written.push((plot.clone(), file));
        }
    }
    said(common, &written, &missing)?;
    Ok(Code::Done)
}

/// The run, with the seconds of its host when one of these kinds draws them.
fn judged(common: &Common, run: &str, kinds: &[PlotKind]) -> Result<Judged, Failure> {
    let store = Store::open_existing(&common.results)?;
    let judged = Judged::read(&store, store.find(run)?)?;
    if kinds.contains(&PlotKind::Telemetry) {
        return judged.with_telemetry(&store);
    }
    Ok(judged)
}

fn draw(report: &Report<'_>, kind: PlotKind) -> Result<Option<Plot>, Failure> {
    report::plot(report, kind).map_err(|e| Failure::environment(format!("cannot {e}")))
}

/// Writes plots so many pixels wide; the fonts are read once, for the first that needs them.
struct Writer {
    width: u32,
    fonts: OnceCell<Fonts>,
}

impl Writer {
    fn new(width: u32) -> Self {
        Self {
            width,
            fonts: OnceCell::new(),
        }
    }

    fn write(&self, plot: &Plot, format: Format, file: &Path) -> Result<(), Failure> {
        let failed =
            |e: &dyn std::fmt::Display| Failure::environment(format!("cannot write {}: {e}", file.display()));
        let bytes = match format {
            Format::Svg => plot.alone(self.width).into_bytes(),
            Format::Png => self.png(plot).map_err(|e| failed(&e))?,
        };
        fs::write(file, bytes).map_err(|e| failed(&e))
    }

    fn png(&self, plot: &Plot) -> Result<Vec<u8>, ReportError> {
        if self.fonts.get().is_none() {
            // Nobody else can have set it meanwhile.
            let _ = self.fonts.set(Fonts::of_system()?);
        }
        let fonts = self.fonts.get().ok_or(ReportError::NoFont)?;
        plot.png(self.width, fonts)
    }
}

/// What was written goes to stdout, one file a line; why some were not, to stderr.
fn said(common: &Common, written: &[(Plot, PathBuf)], missing: &[(PlotKind, String)]) -> Result<(), Failure> {
    if common.json {
        let files = written.iter().map(|(plot, file)| {
            serde_json::json!({ "kind": plot.kind.word(), "title": plot.title, "description": plot.description, "file": file })
        });
        let missing = missing
            .iter()
            .map(|(kind, why)| serde_json::json!({ "kind": kind.word(), "why": why }));
        return print_json(&serde_json::json!({
            "files": files.collect::<Vec<_>>(), "nothing-to-draw": missing.collect::<Vec<_>>(),
        }));
    }
    let files: Vec<_> = written
        .iter()
        .map(|(_, file)| file.display().to_string())
        .collect();
    print(&files.join("\n"));
    if !common.quiet {
        for (kind, why) in missing {
            say(&format!("no plot of {}: {why}", kind.word()));
        }
    }
    Ok(())
}
