//! The report as one page that needs nothing else. Knows the order of what is read and what a browser may do with it;
//! each section stands in a file of its own, styles in `page.css`, and in `page.js` what makes tables sort and points
//! name their trial.
//!
//! Every text goes through maud's escaping; only the plots, which escape their own, the style sheet and the script are
//! put in as they are. The policy of the page allows these two by their hashes and nothing else. Without the script
//! everything can still be read.

mod answer;
mod facts;
mod figures;
mod repeat;
mod table;
mod trials;
mod verdicts;

use super::{Report, ReportError, wording};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub fn html(report: &Report<'_>) -> Result<String, ReportError> {
    let name = wording::tame(&report.header.experiment, wording::NAME);
    let figures = figures::section(report)?;
    let policy = policy(&figures.0);
    let sections = [
        verdicts::section(report),
        figures,
        trials::section(report),
        facts::section(report),
        repeat::section(report),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (name) " – kvmtune" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (contents())
                main {
                    (answer::section(report, &name))
                    @for section in sections { (section) }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string())
}

/// What the browser may do: run this script, apply this style sheet and those of the plots, load nothing.
fn policy(figures: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
    // A text of a user has no such tag: it is escaped.
    let of_plots = figures
        .split("<style>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</style>"));
    let styles: BTreeSet<_> = of_plots
        .map(|(style, _)| style)
        .chain([STYLE])
        .map(hash)
        .collect();
    let styles: Vec<_> = styles.into_iter().collect();
    format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        styles.join(" ")
    )
}

fn contents() -> Markup {
    let places = [
        ("answer", "Answer"),
        ("verdicts", "Verdicts"),
        ("plots", "Plots"),
        ("trials", "Trials"),
        ("facts", "Host and guest"),
        ("repeat", "Repeat it"),
    ];
    html! {
        nav aria-label="Sections" {
            @for (id, title) in places { a href={ "#" (id) } { (title) } }
        }
    }
}

fn list(items: &[String]) -> Markup {
    html! { ul { @for item in items { li { (ticked(item)) } } } }
}

/// A text in which what stands between backticks is code.
fn ticked(text: &str) -> Markup {
    html! {
        @for (place, piece) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// A verdict or outcome as a class of the style sheet.
fn class_of(word: &str) -> String {
    word.replace(' ', "-")
}
